from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.store.history import merge
from model_store.codecs import Event, UserHistory
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
