"""From scores to the k best allowed items; ties go to the lower item_index."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from app.model.arrays import FloatArray, IndexArray

Mask: TypeAlias = npt.NDArray[np.bool_]
Best: TypeAlias = tuple[IndexArray, FloatArray]
"""Items, best first, and their scores."""

EXCLUDED = np.float32(-np.inf)


def mask(scores: FloatArray, *blocked: IndexArray) -> None:
    """Put refused items (and padding) below every other, in place; `scores` is [N+1]."""
    scores[0] = EXCLUDED
    for items in blocked:
        scores[items] = EXCLUDED


def top_k(scores: FloatArray, k: int, allowed: IndexArray | None = None) -> IndexArray:
    """item_indices of the k best, best first; fewer only where fewer are not refused.

    Args:
        scores: [N+1], refused items at -inf.
        k: at least 1.
        allowed: sorted item_indices to choose among; None means all.
    """
    pool = scores if allowed is None else scores[allowed]
    threshold = EXCLUDED
    if k < len(pool):
        threshold = np.partition(pool, len(pool) - k)[len(pool) - k]
        # All that tie with the last one take part, so that the tie is broken by index below
        # and not by whatever order the partition left.
        near = np.flatnonzero(pool >= threshold)
    else:
        near = np.arange(len(pool))
    # `near` ascends, so a stable sort leaves ties in index order.
    best = near[np.argsort(-pool[near], kind="stable")[:k]]
    if threshold == EXCLUDED:
        best = best[pool[best] > EXCLUDED]
    return (best if allowed is None else allowed[best]).astype(np.int32)


def kth_best(scores: FloatArray, k: int) -> np.float32:
    """The k-th largest score; -inf where there are fewer."""
    if len(scores) < k:
        return EXCLUDED
    found: np.float32 = np.partition(scores, len(scores) - k)[len(scores) - k]
    return found


def best_of(k: int, items: IndexArray, scores: FloatArray) -> Best:
    """The k best of items in any order, or all where there are fewer, with their scores."""
    if k < len(items):
        near = np.flatnonzero(scores >= kth_best(scores, k))
        items, scores = items[near], scores[near]
    order = np.lexsort((items, -scores))[:k]
    return items[order], scores[order]


def are_members(items: IndexArray, members: IndexArray) -> Mask:
    """Which of some sorted items, each there once, are in a sorted set: bool [len(items)]."""
    found: Mask = np.zeros(len(items), dtype=np.bool_)
    if not len(members) or not len(items):
        return found
    if len(members) < len(items):
        places = np.minimum(items.searchsorted(members), len(items) - 1)
        found[places[items[places] == members]] = True
        return found
    places = np.minimum(members.searchsorted(items), len(members) - 1)
    np.equal(members[places], items, out=found)
    return found
