"""From scores to the k best allowed items; ties go to the lower item_index."""

from __future__ import annotations

import numpy as np

from app.arrays import FloatArray, IndexArray

REFUSED = np.float32(-np.inf)


def block(scores: FloatArray, *blocked: IndexArray) -> None:
    """Put refused items (and padding) below every other, in place; `scores` is [N+1]."""
    scores[0] = REFUSED
    for items in blocked:
        scores[items] = REFUSED


def top_k(scores: FloatArray, k: int, allowed: IndexArray | None = None) -> IndexArray:
    """item_indices of the k best, best first; fewer only where fewer are not refused.

    Args:
        scores: [N+1], refused items at -inf.
        k: at least 1.
        allowed: sorted item_indices to choose among; None means all.
    """
    pool = scores if allowed is None else scores[allowed]
    threshold = REFUSED
    if k < len(pool):
        threshold = np.partition(pool, len(pool) - k)[len(pool) - k]
        # All that tie with the last one take part, so that the tie is broken by index below
        # and not by whatever order the partition left.
        near = np.flatnonzero(pool >= threshold)
    else:
        near = np.arange(len(pool))
    # `near` ascends, so a stable sort leaves ties in index order.
    best = near[np.argsort(-pool[near], kind="stable")[:k]]
    if threshold == REFUSED:
        best = best[pool[best] > REFUSED]
    return (best if allowed is None else allowed[best]).astype(np.int32)
