"""Laws of diversified answers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.arrays import FloatArray
from app.recommend.diversity import diversify, pool_size

sizes = st.integers(1, 25)
seeds = st.integers(0, 2**32 - 1)
diversities = st.floats(0, 1)


def make_pool(size: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Scores, best first, and vectors."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=size).astype(np.float32))[::-1].copy()
    return scores, rng.normal(size=(size, 4)).astype(np.float32)


@given(sizes, st.integers(1, 30), diversities, seeds)
def test_k_different_items_of_the_pool_beginning_with_the_best(
    size: int, k: int, diversity: float, seed: int
) -> None:
    scores, vectors = make_pool(size, seed)
    chosen = diversify(scores, vectors, k, diversity)
    assert len(set(chosen)) == len(chosen) == min(k, size)
    assert set(chosen) <= set(range(size))
    assert diversity == 1 or chosen[0] == 0
    # Each choice is made for good: fewer are the head of more.
    assert chosen == diversify(scores, vectors, k + 3, diversity)[:k]


@given(sizes, st.integers(1, 30), seeds)
def test_no_diversity_is_plain_ranking(size: int, k: int, seed: int) -> None:
    scores, vectors = make_pool(size, seed)
    assert diversify(scores, vectors, k, 0.0) == list(range(min(k, size)))


@given(sizes, diversities, seeds, st.sampled_from([0.25, 4.0]), st.sampled_from([-8.0, 0.0, 8.0]))
def test_the_unit_of_scores_and_the_length_of_vectors_do_not_matter(
    size: int, diversity: float, seed: int, factor: float, shift: float
) -> None:
    """Numbers that 32 bits hold exactly, as a difference by rounding may decide a near tie."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.integers(-50, 50, size).astype(np.float32))[::-1].copy()
    vectors = rng.normal(size=(size, 4)).astype(np.float32)
    lengths = np.exp2(rng.integers(-3, 3, (size, 1))).astype(np.float32)
    changed = (scores * factor + shift).astype(np.float32)
    assert diversify(changed, vectors * lengths, size, diversity) == diversify(
        scores, vectors, size, diversity
    )


@given(st.integers(2, 25), seeds)
def test_full_diversity_leaves_twins_to_the_end(size: int, seed: int) -> None:
    scores, vectors = make_pool(size, seed)
    twins = np.concatenate([vectors, vectors])
    both = np.concatenate([scores + 10, scores])
    chosen = diversify(both, twins, 2 * size, 1.0)
    assert {position % size for position in chosen[:size]} == set(range(size))


def test_more_diversity_prefers_another_direction() -> None:
    vectors = np.array([[1, 0], [1, 0.01], [0, 1]], dtype=np.float32)
    scores = np.array([3, 2.9, 1], dtype=np.float32)
    assert diversify(scores, vectors, 2, 0.0) == [0, 1]
    assert diversify(scores, vectors, 2, 0.8) == [0, 2]


@pytest.mark.parametrize("diversity", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "scores",
    [
        [1.0] * 6,
        [0.0] * 6,
        [3e38, 3e38, 1.0, 0.0, -3e38, -3e38],
        [5.0, 4.0, 3.0, -np.inf, -np.inf, -np.inf],
        [-np.inf] * 6,
        [1e-45, 1e-45, 0.0, 0.0, -1e-45, -1e-45],
    ],
)
def test_scores_that_tie_or_lie_far_apart_give_an_order(
    scores: list[float], diversity: float
) -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    vectors[2] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = diversify(np.array(scores, np.float32), vectors, 6, diversity)
    assert sorted(chosen) == list(range(6))
    if diversity == 0:
        assert chosen == list(range(6))
    elif diversity == 0.5 and scores[0] > scores[-1]:
        assert chosen[0] == 0


def test_an_empty_pool_gives_nothing() -> None:
    nothing: Any = np.zeros((0, 4), np.float32)
    assert diversify(nothing[:, 0], nothing, 5, 0.5) == []


def test_the_pool_holds_k_and_stays_bounded() -> None:
    for k in range(1, 1_001):
        assert k <= pool_size(k) <= max(100, k + 1_000)
        assert pool_size(k) <= pool_size(k + 1)
