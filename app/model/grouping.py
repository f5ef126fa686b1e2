"""Sets of allowed items, prepared for scoring and cached while the same filters recur."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from app.model.arrays import FloatArray, IndexArray

ListIds = npt.NDArray[np.uint16]
T = TypeVar("T")
_Key = tuple[int, int, int, int]


@dataclass(frozen=True)
class Grouping:
    """A set of items in the order of the retriever's lists.

    Attributes:
        items: sorted by list, then by item_index.
        starts: int64 [n_lists + 1]; those of list c are `items[starts[c]:starts[c + 1]]`.
    """

    items: IndexArray
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, allowed: IndexArray, list_ids: ListIds, n_lists: int) -> Grouping:
        """Group sorted items; `list_ids` is uint16 [N+1], the list of each item."""
        lists = list_ids[allowed]
        # A stable sort of 16-bit numbers is a radix sort.
        order = np.argsort(lists, kind="stable")
        starts = np.zeros(n_lists + 1, dtype=np.int64)
        np.cumsum(np.bincount(lists, minlength=n_lists), out=starts[1:])
        return cls(allowed[order], starts)

    def gather(self, scores: FloatArray, n_lists: int, n_items: int) -> IndexArray:
        """The items of the best lists: at least `n_lists` lists and at least `n_items` items.

        Args:
            scores: float32 [n_lists], of each list's centre.
            n_lists: number of lists, whether they hold items of the set or none.
            n_items: number of items; all, where there are fewer.
        """
        while True:
            cut = len(scores) - min(n_lists, len(scores))
            lists = np.flatnonzero(scores >= np.partition(scores, cut)[cut])
            begins = self.starts[lists]
            counts = self.starts[lists + 1] - begins
            ends = np.cumsum(counts)
            if ends[-1] >= n_items or cut == 0:
                break
            n_lists *= 2
        # The positions of all slices at once: the start of each, less the lengths before, plus a
        # count.
        shifts = np.repeat(begins - ends + counts, counts)
        return self.items[shifts + np.arange(len(shifts))]


class RecentSets(Generic[T]):
    """A cache of values computed from the item sets that were used last.

    Args:
        make: computes a value from sorted item_indices; takes time.
        max_items: limit on the items of all cached sets together.
    """

    def __init__(self, make: Callable[[IndexArray], T], max_items: int) -> None:
        self._make, self._max_items = make, max_items
        self._kept: OrderedDict[_Key, tuple[IndexArray, T]] = OrderedDict()
        self._lock = Lock()
        self.n_items = 0

    def of(self, allowed: IndexArray) -> T:
        """The value that `make` computes from a sorted, non-empty set."""
        middle = int(allowed[len(allowed) // 2])
        key = (len(allowed), int(allowed[0]), middle, int(allowed[-1]))
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is not None and np.array_equal(kept[0], allowed):
            return kept[1]
        made = self._make(allowed)
        if len(allowed) <= self._max_items:
            # A copy: the caller's array may change, or be a view of something much larger.
            with self._lock:
                self._keep(key, allowed.copy(), made)
        return made

    def _keep(self, key: _Key, allowed: IndexArray, made: T) -> None:
        if key in self._kept:
            self.n_items -= len(self._kept.pop(key)[0])
        self._kept[key] = (allowed, made)
        self.n_items += len(allowed)
        while self.n_items > self._max_items:
            _, (oldest, _) = self._kept.popitem(last=False)
            self.n_items -= len(oldest)
