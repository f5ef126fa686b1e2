"""The most popular items: the answer for users about whom nothing is known."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from app.model.arrays import NO_ITEMS, FloatArray, IndexArray
from app.model.ranking import mask, top_k


class Popularity:
    """Interactions of each item, and the order of popularity.

    Args:
        counts: float32 [N+1]; the first is that of padding.
    """

    def __init__(self, counts: FloatArray) -> None:
        self.counts = counts

    @cached_property
    def order(self) -> IndexArray:
        """item_indices [N], most popular first, ties to the lower one; computed at load."""
        return (np.argsort(-self.counts[1:], kind="stable") + 1).astype(np.int32)

    @cached_property
    def n_interactions(self) -> float:
        """All interactions, at least 1."""
        return max(1.0, float(self.counts.sum()))

    def best(
        self,
        k: int,
        excluded: IndexArray,
        allowed: IndexArray | None,
        withdrawn: IndexArray = NO_ITEMS,
    ) -> tuple[IndexArray, FloatArray]:
        """The k most popular items and their counts; see `Retriever.best`."""
        if allowed is None:
            items = self._first(k, excluded, withdrawn)
            return items, self.counts[items]
        counts = self.counts.copy()
        mask(counts, excluded, withdrawn)
        items = top_k(counts, k, allowed)
        return items, counts[items]

    def _first(self, k: int, excluded: IndexArray, withdrawn: IndexArray) -> IndexArray:
        """The k most popular items that are neither excluded nor withdrawn, or all of these."""
        # Of this many at least k remain, or there are no more, unless some are withdrawn.
        n_looked_at = k + len(excluded)
        while True:
            first = self.order[:n_looked_at]
            items = first[~np.isin(first, excluded)]
            if len(withdrawn):
                places = np.minimum(withdrawn.searchsorted(items), len(withdrawn) - 1)
                items = items[withdrawn[places] != items]
            if len(items) >= k or len(first) == len(self.order):
                return items[:k]
            n_looked_at *= 2

    def extended(self, n_fresh: int) -> Popularity:
        """The same with items appended that have no interactions yet."""
        return Popularity(np.concatenate([self.counts, np.zeros(n_fresh, dtype=np.float32)]))
