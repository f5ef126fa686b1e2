"""Laws of ranking: which items are best, and in which order."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.model.ranking import are_members, best_of, kth_best, mask, top_k

NAN = float("nan")
# Few distinct values, so that ties are common.
scores_lists = st.lists(st.sampled_from([-1.5, 0.0, 0.25, 3.0]), min_size=2, max_size=40)
odd_scores = st.lists(
    st.sampled_from([NAN, -3e38, 0.0, 1e-45, 3e38, -np.inf]), min_size=2, max_size=40
)


def best_by_sorting(
    scores: list[float], k: int, allowed: set[int], excluded: set[int]
) -> list[int]:
    kept = [i for i in range(1, len(scores)) if i in allowed and i not in excluded]
    return sorted(kept, key=lambda i: (-scores[i], i))[:k]


@given(scores_lists, st.integers(1, 50), st.data())
def test_top_k_is_the_sorted_head_with_ties_by_index(
    scores: list[float], k: int, data: st.DataObject
) -> None:
    indices = st.sets(st.integers(1, len(scores) - 1))
    excluded, allowed = data.draw(indices), data.draw(st.none() | indices)
    array = np.array(scores, dtype=np.float32)
    mask(array, np.array(sorted(excluded), dtype=np.int32))
    given_allowed = None if allowed is None else np.array(sorted(allowed), dtype=np.int32)
    expected = best_by_sorting(
        scores, k, set(range(len(scores))) if allowed is None else allowed, excluded
    )
    assert top_k(array, k, given_allowed).tolist() == expected


@given(odd_scores, st.integers(1, 50))
def test_an_item_without_a_number_is_never_among_the_best(scores: list[float], k: int) -> None:
    array = np.array(scores, dtype=np.float32)
    mask(array)
    found = array[top_k(array, k)]
    assert not np.isnan(found).any()
    assert (found > -np.inf).all()
    assert (np.diff(found.astype(np.float64)) <= 0).all()


@given(scores_lists, st.integers(1, 50), st.integers(1, 50))
def test_fewer_are_the_head_of_more(scores: list[float], k: int, more: int) -> None:
    array = np.array(scores, dtype=np.float32)
    mask(array)
    assert top_k(array, k).tolist() == top_k(array, k + more)[:k].tolist()


@given(scores_lists, st.integers(1, 50), st.randoms())
def test_the_best_of_items_in_any_order(
    scores: list[float], k: int, shuffled: random.Random
) -> None:
    order = shuffled.sample(range(len(scores)), len(scores))
    array = np.array(scores, dtype=np.float32)[order]
    items, best = best_of(k, np.array(order, dtype=np.int32), array)
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert items.tolist() == expected
    assert best.tolist() == [scores[i] for i in expected]
    assert kth_best(array, k) == (scores[expected[-1]] if k <= len(scores) else -np.inf)


@given(st.sets(st.integers(0, 60)), st.lists(st.integers(0, 60)))
def test_membership_is_that_of_sets(items: set[int], members: list[int]) -> None:
    ordered = sorted(items)
    found = are_members(np.array(ordered, np.int32), np.array(sorted(members), np.int32))
    assert found.tolist() == [item in members for item in ordered]
