"""Filtered items by the list of the retriever that they are in, so that few need to be scored.

Grouping takes longer than a search, and the same filters come again and again: the groupings of
the last ones are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt

from app.arrays import NO_ITEMS, FloatArray, IndexArray

# Items in all groupings that are kept; 8 bytes each.
MOST_KEPT_ITEMS = 4_000_000

Places = npt.NDArray[np.uint16]
_Key = tuple[int, int, int, int]


@dataclass(frozen=True)
class Grouping:
    """A set of items in the order of their lists.

    Attributes:
        allowed: the set, sorted by item_index.
        items: the same items, sorted by list and then by item_index.
        starts: int64 [n_lists + 1]; those of list c are `items[starts[c]:starts[c + 1]]`.
    """

    allowed: IndexArray
    items: IndexArray
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, allowed: IndexArray, places: Places, n_lists: int) -> Grouping:
        """Group items; `places` is uint16 [N+1], the list of each item."""
        lists = places[allowed]
        # Sorting 16-bit numbers stably is a radix sort.
        order = np.argsort(lists, kind="stable")
        starts = np.zeros(n_lists + 1, dtype=np.int64)
        np.cumsum(np.bincount(lists, minlength=n_lists), out=starts[1:])
        return cls(allowed, allowed[order], starts)

    def gather(self, scores: FloatArray, n_lists: int, n_items: int) -> IndexArray:
        """The items of the best lists: of at least so many lists, and at least so many items.

        Args:
            scores: float32 [n_lists], of each list's centre.
            n_lists: lists that count, whether they hold items of the set or none.
            n_items: items wanted; all, where there are fewer.
        """
        order = np.argsort(-scores)
        held = np.diff(self.starts)[order]
        enough = max(n_lists, int(np.searchsorted(np.cumsum(held), n_items)) + 1)
        lists = order[:enough][held[:enough] > 0]
        if not len(lists):
            return NO_ITEMS
        begins, counts = self.starts[lists], self.starts[lists + 1] - self.starts[lists]
        # The places of all slices at once: what begins where, less what came before, and on by one.
        shifts = np.repeat(begins - np.cumsum(counts) + counts, counts)
        return self.items[shifts + np.arange(len(shifts))]


class Groupings:
    """The groupings of the filters that were last asked for."""

    def __init__(self, places: Places, n_lists: int) -> None:
        self._places, self._n_lists = places, n_lists
        self._kept: OrderedDict[_Key, Grouping] = OrderedDict()
        self._n_kept = 0
        self._lock = Lock()

    def of(self, allowed: IndexArray) -> Grouping:
        """The grouping of a sorted, non-empty set of indexed items."""
        middle = int(allowed[len(allowed) // 2])
        key = (len(allowed), int(allowed[0]), middle, int(allowed[-1]))
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is not None and np.array_equal(kept.allowed, allowed):
            return kept
        made = Grouping.of(allowed.copy(), self._places, self._n_lists)
        if len(allowed) <= MOST_KEPT_ITEMS // 4:
            with self._lock:
                self._keep(key, made)
        return made

    def _keep(self, key: _Key, grouping: Grouping) -> None:
        replaced = self._kept.pop(key, None)
        self._kept[key] = grouping
        self._n_kept += len(grouping.items) - (len(replaced.items) if replaced else 0)
        while self._n_kept > MOST_KEPT_ITEMS:
            _, oldest = self._kept.popitem(last=False)
            self._n_kept -= len(oldest.items)
