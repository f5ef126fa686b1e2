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


def mask(scores: FloatArray, *excluded: IndexArray) -> None:
    """Put excluded items (and padding) below every other, in place; `scores` is [N+1]."""
    scores[0] = EXCLUDED
    for items in excluded:
        scores[items] = EXCLUDED


def top_k(scores: FloatArray, k: int, allowed: IndexArray | None = None) -> IndexArray:
    """item_indices of the k best, best first; fewer only where fewer may be returned.

    An item whose score is NaN is never among them.

    Args:
        scores: [N+1], excluded items at -inf.
        k: at least 1.
        allowed: sorted item_indices to choose among; None means all.
    """
    # Methods of arrays throughout: numpy's functions around them cost as much as the work itself.
    pool = scores if allowed is None else scores[allowed]
    threshold = EXCLUDED
    if k < len(pool):
        threshold = kth_best(pool, k)
        # All that tie with the last one take part, so that the tie is broken by index below
        # and not by whatever order the partition left.
        near = (pool >= threshold).nonzero()[0]
    else:
        near = np.arange(len(pool))
    # `near` ascends, so a stable sort leaves ties in index order.
    best = near[(-pool[near]).argsort(kind="stable")[:k]]
    if threshold == EXCLUDED:
        best = best[pool[best] > EXCLUDED]
    return (best if allowed is None else allowed[best]).astype(np.int32)


def kth_best(scores: FloatArray, k: int) -> np.float32:
    """The k-th largest score, NaN being larger than any number; -inf where there are fewer."""
    position = len(scores) - k
    if position < 0:
        return EXCLUDED
    parted = scores.copy()
    parted.partition(position)
    found: np.float32 = parted[position]
    return found


def best_of(k: int, items: IndexArray, scores: FloatArray) -> Best:
    """The k best of items in any order, or all where there are fewer, with their scores."""
    if k < len(items):
        near = (scores >= kth_best(scores, k)).nonzero()[0]
        items, scores = items[near], scores[near]
    order = np.lexsort((items, -scores))[:k]
    return items[order], scores[order]


def are_members(items: IndexArray, members: IndexArray) -> Mask:
    """Whether each of some sorted, distinct items is in a sorted set: bool [len(items)]."""
    found: Mask = np.zeros(len(items), dtype=np.bool_)
    if not len(members) or not len(items):
        return found
    if len(members) < len(items):
        positions = np.minimum(items.searchsorted(members), len(items) - 1)
        found[positions[items[positions] == members]] = True
        return found
    positions = np.minimum(members.searchsorted(items), len(members) - 1)
    np.equal(members[positions], items, out=found)
    return found
