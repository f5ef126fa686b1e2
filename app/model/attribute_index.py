"""Indexes of one attribute: which items have a value, or a number in a range."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from app.model.arrays import NO_ITEMS, IndexArray
from model_store.attributes import Attribute, AttributeValue

FilterValue = str | bool | int | float
"""A value in a filter; of whatever type, it is compared as the attribute's kind asks for."""
# Below this share of the catalogue, sorting the found items is faster than a pass over all items.
SORTING_SHARE = 1 / 256


class TextPostings:
    """value → sorted item_indices, for text, list and boolean attributes, as CSR."""

    def __init__(self, attribute: Attribute) -> None:
        self.kind = attribute.kind
        slots: dict[str, int] = {}
        slot_of: list[int] = []
        items: list[int] = []
        for item_index, value in enumerate(attribute.values, start=1):
            for text in _texts_of(value):
                slot_of.append(slots.setdefault(text, len(slots)))
                items.append(item_index)
        # A stable sort by slot keeps the item_indices of each value ascending.
        order = np.argsort(np.array(slot_of, dtype=np.int64), kind="stable")
        self._items = np.array(items, dtype=np.int32)[order]
        counts = np.bincount(np.array(slot_of, dtype=np.int64), minlength=len(slots))
        self._offsets = np.concatenate(([0], np.cumsum(counts)))
        self._slots = slots

    def look_up(self, values: Iterable[FilterValue], unmatched: list[str]) -> list[IndexArray]:
        """Sorted item_indices of the items with each distinct value; adds to `unmatched`."""
        found = []
        for value in _spelled(values):
            slot = self._slots.get(value)
            if slot is None:
                unmatched.append(value)
            else:
                found.append(self._items[self._offsets[slot] : self._offsets[slot + 1]])
        return found


class NumberColumn:
    """The values of a number attribute, by item and in order."""

    def __init__(self, attribute: Attribute) -> None:
        self.kind = attribute.kind
        values = [np.nan if value is None else value for value in attribute.values]
        # Row 0 is padding; NaN compares false with everything, as a missing value must.
        self._by_item = np.array([np.nan, *values], dtype=np.float64)
        order = np.argsort(self._by_item, kind="stable")
        n_present = int(np.count_nonzero(~np.isnan(self._by_item)))
        self._order = order[:n_present].astype(np.int32)
        self._sorted = self._by_item[self._order]

    def between(self, gte: float | None, lte: float | None) -> IndexArray:
        """Sorted item_indices of the items with a number in [gte, lte]; None leaves a side open."""
        low = 0 if gte is None else int(np.searchsorted(self._sorted, gte, side="left"))
        high = (
            len(self._sorted)
            if lte is None
            else int(np.searchsorted(self._sorted, lte, side="right"))
        )
        if high <= low:
            return NO_ITEMS
        if high - low < SORTING_SHARE * len(self._by_item):
            return np.sort(self._order[low:high])
        least, most = self._sorted[low], self._sorted[high - 1]
        matches = (self._by_item >= least) & (self._by_item <= most)
        return np.flatnonzero(matches).astype(np.int32)

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


def find_unfit(kind: str, values: Iterable[FilterValue]) -> FilterValue | None:
    """The first value that no attribute of that kind can have, else None."""
    if kind == "number":
        return next((value for value in values if _as_number(_spell(value)) is None), None)
    if kind == "boolean":
        return next((value for value in values if _spell(value) not in ("true", "false")), None)
    return None


def _texts_of(value: AttributeValue) -> Iterable[str]:
    """The texts that a value is found by, each once."""
    if value is None:
        return ()
    return set(value) if isinstance(value, list) else (_spell(value),)


def _spelled(values: Iterable[FilterValue]) -> Iterable[str]:
    """Different values as texts, in order: 7 and 7.0 as "7", true as "true"."""
    return dict.fromkeys(value if type(value) is str else _spell(value) for value in values)


def _spell(value: FilterValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
