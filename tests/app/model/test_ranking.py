from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.model.ranking import are_members, best_of, kth_best, mask, top_k
from app.recommend.diversity import diversify, pool_size

# Few distinct values, so that ties are common.
scores_lists = st.lists(st.sampled_from([-1.5, 0.0, 0.25, 3.0]), min_size=2, max_size=40)


def brute_force(scores: list[float], k: int, allowed: set[int], blocked: set[int]) -> list[int]:
    kept = [i for i in range(1, len(scores)) if i in allowed and i not in blocked]
    return sorted(kept, key=lambda i: (-scores[i], i))[:k]


@given(scores_lists, st.integers(1, 50), st.data())
def test_top_k_is_the_sorted_head_with_ties_by_index(
    scores: list[float], k: int, data: st.DataObject
) -> None:
    indices = st.sets(st.integers(1, len(scores) - 1))
    blocked, allowed = data.draw(indices), data.draw(st.none() | indices)
    array = np.array(scores, dtype=np.float32)
    mask(array, np.array(sorted(blocked), dtype=np.int32))
    given_allowed = None if allowed is None else np.array(sorted(allowed), dtype=np.int32)
    expected = brute_force(
        scores, k, set(range(len(scores))) if allowed is None else allowed, blocked
    )
    assert top_k(array, k, given_allowed).tolist() == expected


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_no_diversity_is_plain_ranking(size: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = np.sort(random.normal(size=size).astype(np.float32))[::-1]
    pool = np.arange(1, size + 1, dtype=np.int32)
    vectors = random.normal(size=(size, 4)).astype(np.float32)
    assert pool[diversify(scores, vectors, k, 0.0)].tolist() == pool[:k].tolist()


@given(st.integers(1, 20), st.integers(1, 25), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_each_item_is_the_best_trade_off_at_its_rank(
    size: int, k: int, diversity: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    scores = np.sort(random.normal(size=size).astype(np.float32))[::-1]
    pool = random.permutation(100)[:size].astype(np.int32)
    vectors = random.normal(size=(size, 4)).astype(np.float32)
    chosen = pool[diversify(scores, vectors, k, diversity)].tolist()
    assert len(set(chosen)) == min(k, size)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    spread = max(float(scores[0] - scores[-1]), 1e-30)
    places = [pool.tolist().index(item) for item in chosen]
    for turn, place in enumerate(places):
        done = places[:turn]

        def value(p: int, done: list[int] = done) -> float:
            relevance = 1.0 if size == 1 else float(scores[p] - scores[-1]) / spread
            likeness = max((float(directions[p] @ directions[d]) for d in done), default=-1.0)
            return (1 - diversity) * relevance - diversity * likeness

        best = max(value(p) for p in range(size) if p not in done)
        assert value(place) >= best - 1e-4


def test_full_diversity_avoids_twins() -> None:
    vectors = np.array([[1, 0], [1, 0.01], [0, 1]], dtype=np.float32)
    scores = np.array([3, 2.9, 1], dtype=np.float32)
    pool = np.array([7, 8, 9], dtype=np.int32)
    assert pool[diversify(scores, vectors, 2, 0.0)].tolist() == [7, 8]
    assert pool[diversify(scores, vectors, 2, 0.8)].tolist() == [7, 9]


def test_the_pool_holds_k_and_stays_bounded() -> None:
    assert pool_size(1) == 100
    assert pool_size(50) == 500
    assert all(k <= pool_size(k) <= max(100, k + 1_000) for k in range(1, 1_001))


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
