"""Maximal marginal relevance: good items that differ from those already chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.model.arrays import FloatArray

MIN_POOL = 100
MAX_POOL_BEYOND_K = 1_000


def pool_size(k: int) -> int:
    """How many of the best items diversity chooses from; bounded, as the cost is k times this."""
    return max(MIN_POOL, min(10 * k, k + MAX_POOL_BEYOND_K))


def diversify(
    scores: FloatArray,
    vectors: FloatArray,
    k: int,
    diversity: float,
    take: Callable[[int], bool] | None = None,
) -> list[int]:
    """Positions of k items of a pool, each the best of those not chosen yet.

    The best has the most of (1 - diversity) x relevance - diversity x similarity.

    Relevance is the score scaled to 0..1 over the pool (1 for all where all score the same),
    similarity the largest cosine with an item already chosen (Carbonell and Goldstein, 1998, with
    lambda = 1 - diversity). Ties go to the item that ranks higher in the pool, so diversity 0 is
    plain ranking.

    Args:
        scores: [P] of the pool's items, best first, none of them NaN.
        vectors: [P, D] their item vectors.
        k: how many to choose; fewer where the pool is smaller.
        diversity: 0..1.
        take: called with each position before it is chosen; it isn't where that returns false.
    """
    relevance = _scale(scores)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = vectors / np.maximum(norms, 1e-12)
    similarity = np.full(len(scores), -1.0, dtype=np.float32)
    is_left = np.ones(len(scores), dtype=np.bool_)
    chosen: list[int] = []
    for _ in range(len(scores)):
        if len(chosen) == k:
            break
        # Nothing is chosen yet in the first round: similarity is the same for all.
        value = (1 - diversity) * relevance - diversity * similarity
        value[~is_left] = -np.inf
        best = int(np.argmax(value))
        is_left[best] = False
        if take is not None and not take(best):
            continue
        chosen.append(best)
        np.maximum(similarity, directions @ directions[best], out=similarity)
    return chosen


def _scale(scores: FloatArray) -> FloatArray:
    """To 0..1; in 64 bits, as differences of 32-bit scores can overflow."""
    limits = np.finfo(np.float32)
    finite = np.clip(scores.astype(np.float64), limits.min, limits.max)
    if not len(scores) or finite[0] == finite[-1]:
        return np.ones_like(scores)
    scaled: FloatArray = ((finite - finite[-1]) / (finite[0] - finite[-1])).astype(np.float32)
    return scaled
