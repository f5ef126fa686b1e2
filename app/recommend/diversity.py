"""Maximal marginal relevance: good items that differ from those already chosen."""

from __future__ import annotations

import numpy as np

from app.model.arrays import FloatArray

MIN_POOL = 100
MAX_POOL_BEYOND_K = 1_000


def pool_size(k: int) -> int:
    """How many of the best items diversity chooses from; bounded, as the cost is k times this."""
    return max(MIN_POOL, min(10 * k, k + MAX_POOL_BEYOND_K))


def diversify(scores: FloatArray, vectors: FloatArray, k: int, diversity: float) -> list[int]:
    """Places of k items of a pool, each the best of what is left of it.

    The best has the most of (1 - diversity) x relevance - diversity x likeness.

    Relevance is the score scaled to 0..1 over the pool, likeness the largest cosine with an item
    already chosen (Carbonell and Goldstein, 1998, with lambda = 1 - diversity). Ties go to the
    item that ranks higher in the pool, so diversity 0 is plain ranking.

    Args:
        scores: [P] of the pool's items, best first.
        vectors: [P, D] their item vectors.
        k: how many to choose; fewer where the pool is smaller.
        diversity: 0..1.
    """
    spread = scores[0] - scores[-1] if len(scores) else np.float32(0)
    relevance = (scores - scores[-1]) / spread if spread > 0 else np.ones_like(scores)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = vectors / np.maximum(norms, 1e-12)
    likeness = np.full(len(scores), -1.0, dtype=np.float32)
    left = np.ones(len(scores), dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(k, len(scores)):
        # Nothing is chosen yet in the first round: likeness is the same for all.
        value = (1 - diversity) * relevance - diversity * likeness
        value[~left] = -np.inf
        best = int(np.argmax(value))
        chosen.append(best)
        left[best] = False
        np.maximum(likeness, directions @ directions[best], out=likeness)
    return chosen
