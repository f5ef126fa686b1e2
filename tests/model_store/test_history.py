from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model_store.codecs import Event, UserHistory, kind_numbers
from model_store.event_rules import CONTEXT, NEGATIVE, EventRules, EventsInfo
from model_store.history import merge
from model_store.id_map import IdMap

IDS = IdMap(["a", "b", "c"])
pairs = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=12)
events = st.lists(
    st.builds(Event, st.sampled_from("abcx"), st.integers(0, 9).map(float)), max_size=12
)


def as_base(found: list[tuple[str, int]]) -> UserHistory:
    ordered = sorted(found, key=lambda pair: pair[1])
    return UserHistory(
        np.array([IDS.index_of(item) for item, _ in ordered], dtype=np.int32),
        np.array([time for _, time in ordered], dtype=np.float64),
    )


@given(pairs, events)
def test_merging_equals_brute_force(found: list[tuple[str, int]], new: list[Event]) -> None:
    base = as_base(found)
    merged = merge(base, new, IDS)
    once = list(dict.fromkeys((event.item_id, event.timestamp) for event in new))
    known = [pair for pair in once if pair[0] in IDS and pair not in [*found]]
    ordered = sorted(found, key=lambda pair: pair[1])
    expected = sorted([*ordered, *known], key=lambda pair: pair[1])
    assert [IDS.id_of(int(index)) for index in merged.items] == [item for item, _ in expected]
    assert merged.n_unknown == sum(item not in IDS for item, _ in once)


@given(pairs, events)
def test_events_sent_twice_count_once(found: list[tuple[str, int]], new: list[Event]) -> None:
    base = as_base(found)
    once, twice = merge(base, new, IDS), merge(base, [*new, *new], IDS)
    assert once.items.tolist() == twice.items.tolist()
    assert once.n_unknown == twice.n_unknown


def test_nothing_known_is_an_empty_history() -> None:
    assert merge(None, [], IDS).items.tolist() == []
    assert merge(None, [Event("b", 1.0)], IDS).items.tolist() == [2]


READING = EventsInfo(
    rules=EventRules(weights={"purchase": 3}, context=("view",), positive_from=4, negative_to=2),
    types=("interaction", "purchase", "view", "dislike"),
)
rated = st.lists(
    st.builds(
        Event,
        st.sampled_from("abcx"),
        st.integers(0, 9).map(float),
        st.none() | st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]),
        st.sampled_from(READING.types),
    ),
    max_size=12,
)


@given(rated)
def test_rows_of_the_base_mean_what_events_of_the_same_kinds_mean(found: list[Event]) -> None:
    """One function decides of both."""
    once = [*{event.identity: event for event in found[::-1]}.values()][::-1]
    ordered = sorted(
        (event for event in once if event.item_id in IDS), key=lambda event: event.timestamp
    )
    base = UserHistory(
        np.array([IDS.index_of(event.item_id) for event in ordered], dtype=np.int32),
        np.array([event.timestamp for event in ordered], dtype=np.float64),
        kind_numbers(
            np.array([READING.types.index(event.type) for event in ordered], dtype=np.int64),
            np.array([READING.rules.weigh(event.type, event.rating) for event in ordered]),
        ),
    )
    old, new = merge(base, [], IDS, READING), merge(None, once, IDS, READING)
    assert old.items.tolist() == new.items.tolist()
    assert sorted(old.disliked.tolist()) == sorted(new.disliked.tolist())
    for name in READING.types:
        assert sorted(old.of_types([name]).tolist()) == sorted(new.of_types([name]).tolist())


def test_only_positive_events_are_history() -> None:
    rules = READING.rules
    assert [rules.weigh("interaction", rating) for rating in (5, 3, 1, None)] == [
        1.0,
        CONTEXT,
        NEGATIVE,
        1.0,
    ]
    events = [
        Event("a", 1.0, 5.0),
        Event("b", 2.0, 1.0),
        Event("c", 3.0, type="view"),
        Event("x", 4.0, type="view"),
        Event("a", 5.0, type="purchase"),
    ]
    history = merge(None, events, IDS, READING)
    assert history.items.tolist() == [1, 1]
    assert history.disliked.tolist() == [2]
    assert history.n_unknown == 0
    assert history.of_types(["purchase", "view"]).tolist() == [1, 3]
    assert history.of_types(["nothing"]).tolist() == []


def test_the_last_word_about_an_item_decides() -> None:
    dislike, like = Event("a", 5.0, type="dislike"), Event("a", 6.0)
    assert merge(None, [dislike], IDS).disliked.tolist() == [1]
    assert merge(None, [like, dislike], IDS).disliked.tolist() == []
    later = Event("a", 7.0, type="dislike")
    assert merge(None, [dislike, like, later], IDS).disliked.tolist() == [1]
    # An earlier interaction stays what it was.
    assert merge(None, [dislike, like, later], IDS).items.tolist() == [1]


def test_an_event_id_names_one_event_whatever_its_time() -> None:
    events = [Event("a", 1.0, event_id="e1"), Event("b", 50.0, event_id="e1"), Event("b", 60.0)]
    assert merge(None, events, IDS).items.tolist() == [1, 2]
