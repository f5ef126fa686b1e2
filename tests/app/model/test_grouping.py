"""Laws of item sets that are prepared for scoring, and of those that are kept."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.model.arrays import IndexArray
from app.model.grouping import Grouping, RecentSets

N_ITEMS, N_LISTS = 60, 7
item_sets = st.sets(st.integers(1, N_ITEMS), min_size=1).map(
    lambda items: np.array(sorted(items), np.int32)
)
seeds = st.integers(0, 2**32 - 1)


def list_ids_of(seed: int) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    """The list of each item; the last list has none."""
    return np.random.default_rng(seed).integers(0, N_LISTS - 1, N_ITEMS + 1).astype(np.uint16)


@given(item_sets, seeds)
def test_a_grouping_holds_each_item_once_in_its_list(allowed: IndexArray, seed: int) -> None:
    list_ids = list_ids_of(seed)
    grouping = Grouping.of(allowed, list_ids, N_LISTS)
    assert sorted(grouping.items.tolist()) == allowed.tolist()
    assert grouping.starts[[0, -1]].tolist() == [0, len(allowed)]
    for number in range(N_LISTS):
        of_list = grouping.items[grouping.starts[number] : grouping.starts[number + 1]]
        assert of_list.tolist() == [item for item in allowed.tolist() if list_ids[item] == number]


@given(item_sets, seeds, st.integers(1, N_LISTS), st.integers(0, N_ITEMS + 5))
def test_whole_lists_are_gathered_the_best_first_until_there_are_enough(
    allowed: IndexArray, seed: int, n_lists: int, n_items: int
) -> None:
    list_ids = list_ids_of(seed)
    scores = np.random.default_rng(seed + 1).permutation(N_LISTS).astype(np.float32)
    gathered = Grouping.of(allowed, list_ids, N_LISTS).gather(scores, n_lists, n_items)
    found = set(gathered.tolist())
    assert len(found) == len(gathered) >= min(n_items, len(allowed))
    assert found <= set(allowed.tolist())
    best_first = np.argsort(-scores).tolist()
    by_list = [[i for i in allowed.tolist() if list_ids[i] == number] for number in best_first]
    heads = [{item for items in by_list[:count] for item in items} for count in range(N_LISTS + 1)]
    assert found in heads[n_lists:]


@given(st.lists(item_sets, min_size=1, max_size=30), st.integers(1, 150))
def test_a_kept_set_is_as_good_as_a_new_one(asked: list[IndexArray], max_items: int) -> None:
    computed: list[bytes] = []

    def compute(items: IndexArray) -> bytes:
        computed.append(items.tobytes())
        return computed[-1]

    sets = RecentSets(compute, max_items)
    for items in asked:
        mine = items.copy()
        assert sets.of(mine) == items.tobytes()
        assert sets.n_items <= max_items
        n_computed = len(computed)
        assert sets.of(items) == items.tobytes()
        assert len(computed) - n_computed == (len(items) > max_items)
        # What a caller does to its array afterwards is its own.
        mine[:] = 1
        assert sets.of(items) == items.tobytes()


def test_sets_alike_in_length_ends_and_middle_are_distinguished() -> None:
    first, second = (np.array([1, other, 5, 8, 9], np.int32) for other in (2, 3))
    sets = RecentSets(lambda items: items.tobytes(), max_items=100)
    for items in (first, second, first):
        assert sets.of(items) == items.tobytes()
