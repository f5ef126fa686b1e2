"""Indexes of one attribute: which items have a value, or a number in a range."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, count
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from app.model.arrays import NO_ITEMS, IndexArray
from app.model.ranking import Mask, are_members
from model_store.attributes import Attribute, AttributeValue
from model_store.item_filter import spelled
from model_store.texts import in_parts
from model_store.truth_words import truth_of

FloatsByItem = npt.NDArray[np.float64]
FilterValue = str | bool | int | float
"""A value in a filter; of whatever type, it is compared as the attribute's kind asks for."""
# Below this share of the catalogue, sorting the found items is faster than a pass over all items.
SORTING_SHARE = 1 / 256
# So many changed numbers are looked at apart; then they are put in order. More in a large column.
MAX_CHANGED = 1_024


class TextPostings:
    """value → sorted item_indices, for text, list and boolean attributes, as CSR.

    A change of an item is noted with the values concerned, and worked into the set of a value when
    that is looked up next: it costs the same in every catalogue.
    """

    def __init__(self, attribute: Attribute) -> None:
        self.kind = attribute.kind
        self._lock = Lock()
        self._edits: dict[str, dict[int, bool]] = {}
        """value → item_index → whether the item has it now; not yet in `_edited`."""
        self._edited: dict[str, IndexArray] = {}
        """value → sorted item_indices, where that differs from the CSR."""
        # A text gets its number when it is first looked up, until all are listed.
        self._slots: defaultdict[str, int] = defaultdict(count().__next__)
        slots, items = [NO_ITEMS], [NO_ITEMS]
        for start, some in in_parts(attribute.values):
            texts, counts = _listed(attribute.kind, some)
            slots.append(np.fromiter(map(self._slots.__getitem__, texts), np.int32, len(texts)))
            numbers = np.arange(start + 1, start + 1 + len(some), dtype=np.int32)
            items.append(np.repeat(numbers, counts))
        self._slots.default_factory = None
        self._items, self._offsets = _by_slot(
            np.concatenate(slots), np.concatenate(items), len(self._slots)
        )

    def look_up(self, values: Iterable[FilterValue], unmatched: list[str]) -> list[IndexArray]:
        """Sorted item_indices of the items with each distinct value; adds to `unmatched`."""
        found = []
        if self.kind == "boolean":
            values = map(_as_boolean, values)
        for value in _spelled(values):
            items = self._items_of(value)
            if len(items):
                found.append(items)
            else:
                unmatched.append(value)
        return found

    def change(self, item_index: int, before: AttributeValue, after: AttributeValue) -> None:
        """Find an item by another value from now on."""
        lost, won = set(_texts_of(before)), set(_texts_of(after))
        with self._lock:
            for text in won - lost:
                self._edits.setdefault(text, {})[item_index] = True
            for text in lost - won:
                edits = self._edits.setdefault(text, {})
                edits[item_index] = False
                if text not in self._slots:  # a value that came and went leaves nothing behind
                    self._work_in(text)

    def _items_of(self, text: str) -> IndexArray:
        if text in self._edits:
            with self._lock:
                self._work_in(text)
        items = self._edited.get(text)
        return self._unedited(text) if items is None else items

    def _unedited(self, text: str) -> IndexArray:
        slot = self._slots.get(text)
        if slot is None:
            return NO_ITEMS
        return self._items[self._offsets[slot] : self._offsets[slot + 1]]

    def _work_in(self, text: str) -> None:
        """Work the noted changes of a value into the set of its items; the caller has the lock."""
        edits = self._edits.get(text)
        if edits is None:
            return  # another thread has just done it
        items = self._edited.get(text, self._unedited(text))
        changed = np.array(sorted(edits), dtype=np.int32)
        kept = items[~are_members(items, changed)]
        added = changed[[edits[item] for item in changed.tolist()]]
        items = np.insert(kept, kept.searchsorted(added), added)
        if len(items) or text in self._slots:
            self._edited[text] = items
        else:
            self._edited.pop(text, None)
        del self._edits[text]


class NumberColumn:
    """The values of a number attribute, by item and in order.

    Changed items are few beside the ordered ones, and looked at apart from these.
    """

    def __init__(self, attribute: Attribute) -> None:
        self.kind = attribute.kind
        self._lock = Lock()
        self._changed: set[int] = set()
        self._changed_items: IndexArray | None = NO_ITEMS
        """The same, sorted; None: to be sorted by who needs it next."""
        # Row 0 is padding; NaN compares false with everything, as a missing value must.
        self._by_item = np.full(1 + len(attribute.values), np.nan)
        for start, some in in_parts(attribute.values):
            numbers = [np.nan if value is None else value for value in some]
            self._by_item[start + 1 : start + 1 + len(some)] = numbers
        order = np.argsort(self._by_item, kind="stable")
        n_present = int(np.count_nonzero(~np.isnan(self._by_item)))
        in_order = order[:n_present].astype(np.int32)
        self._ordered = (in_order, self._by_item[in_order])
        """item_indices by number, and their numbers; one object, as other threads read both."""

    def change(self, item_index: int, _before: AttributeValue, after: AttributeValue) -> None:
        """Find an item by another number from now on; None: by none."""
        with self._lock:
            self._by_item[item_index] = np.nan if after is None else after
            self._changed.add(item_index)
            self._changed_items = None
            if len(self._changed) > max(MAX_CHANGED, int(SORTING_SHARE * len(self._by_item))):
                self._put_in_order()

    def _put_in_order(self) -> None:
        """Put the changed items where they belong; 15 ms for a million items."""
        changed = np.array(sorted(self._changed), dtype=np.int32)
        is_changed = np.zeros(len(self._by_item), dtype=np.bool_)
        is_changed[changed] = True
        items, numbers = self._ordered
        kept = ~is_changed[items]
        items, numbers = items[kept], numbers[kept]
        new = changed[~np.isnan(self._by_item[changed])]
        new = new[np.argsort(self._by_item[new], kind="stable")]
        places = numbers.searchsorted(self._by_item[new])
        self._ordered = (
            np.insert(items, places, new),
            np.insert(numbers, places, self._by_item[new]),
        )
        self._changed, self._changed_items = set(), NO_ITEMS

    def between(self, gte: float | None, lte: float | None) -> IndexArray:
        """Sorted item_indices of the items with a number in [gte, lte]; None leaves a side open."""
        (order, in_order), changed = self._state()
        low = 0 if gte is None else int(np.searchsorted(in_order, gte, side="left"))
        high = len(in_order) if lte is None else int(np.searchsorted(in_order, lte, side="right"))
        if high <= low and not len(changed):
            return NO_ITEMS
        if high - low >= SORTING_SHARE * len(self._by_item):
            return np.flatnonzero(_are_between(self._by_item, gte, lte)).astype(np.int32)
        found = np.sort(order[low : max(low, high)])
        if not len(changed):
            return found
        kept = found[~are_members(found, changed)]
        fitting = changed[_are_between(self._by_item[changed], gte, lte)]
        return np.insert(kept, kept.searchsorted(fitting), fitting)

    def _state(self) -> tuple[tuple[IndexArray, FloatsByItem], IndexArray]:
        """The ordered items with their numbers, and the items that have changed since, sorted."""
        with self._lock:
            if self._changed_items is None:
                self._changed_items = np.array(sorted(self._changed), dtype=np.int32)
            return self._ordered, self._changed_items

    def look_up(self, values: Iterable[FilterValue], unmatched: list[str]) -> list[IndexArray]:
        """Sorted item_indices of the items with each distinct number; adds to `unmatched`."""
        found = []
        for value in _spelled(values):
            number = _as_number(value)
            items = NO_ITEMS if number is None else self.between(number, number)
            if len(items):
                found.append(items)
            else:
                unmatched.append(value)
        return found


def _are_between(numbers: FloatsByItem, gte: float | None, lte: float | None) -> Mask:
    """Whether each number is in [gte, lte]; a missing one (NaN) never is."""
    above: Mask = numbers >= (-np.inf if gte is None else gte)
    return above & (numbers <= (np.inf if lte is None else lte))


def find_unfit(kind: str, values: Iterable[FilterValue]) -> FilterValue | None:
    """The first value that no attribute of that kind can have, else None."""
    if kind == "number":
        return next((value for value in values if _as_number(spelled(value)) is None), None)
    if kind == "boolean":
        return next((value for value in values if not isinstance(_as_boolean(value), bool)), None)
    return None


def _as_boolean(value: FilterValue) -> FilterValue:
    """A word for true or false as what it says; any other value as it is."""
    truth = truth_of(value) if isinstance(value, str) else None
    return value if truth is None else truth


def _listed(kind: str, values: Sequence[Any]) -> tuple[list[str], Sequence[int]]:
    """The texts that items are found by, item by item, and how many each item has.

    A text that a list holds twice is there twice.
    """
    if kind == "list":
        lists = [value or () for value in values]
        return [*chain.from_iterable(lists)], [*map(len, lists)]
    present = [value for value in values if value is not None]
    texts = present if kind == "text" else [*map(spelled, present)]
    return texts, [value is not None for value in values]


def _by_slot(
    slots: IndexArray, items: IndexArray, n_slots: int
) -> tuple[IndexArray, npt.NDArray[np.int64]]:
    """The items of each slot, ascending and each once, and the offset of each slot's first.

    Args:
        slots: int32 [M], from 0.
        items: int32 [M], ascending: the item that each slot was found at.
        n_slots: S.

    Returns:
        int32 [at most M] and int64 [S + 1].
    """
    # Numbers of at most 16 bits are sorted by radix, in a tenth of the time.
    order = slots.astype(np.min_scalar_type(n_slots)).argsort(kind="stable")
    slots, items = slots[order], items[order]
    is_first = np.ones(len(items), dtype=np.bool_)
    is_first[1:] = (slots[1:] != slots[:-1]) | (items[1:] != items[:-1])
    return items[is_first], slots[is_first].searchsorted(np.arange(n_slots + 1))


def _texts_of(value: AttributeValue) -> Collection[str]:
    """The texts that a value is found by, each once."""
    if value is None:
        return ()
    return set(value) if isinstance(value, list) else (spelled(value),)


def _spelled(values: Iterable[FilterValue]) -> Iterable[str]:
    """Different values as texts, in order: 7 and 7.0 as "7", true as "true"."""
    return dict.fromkeys(value if type(value) is str else spelled(value) for value in values)


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
