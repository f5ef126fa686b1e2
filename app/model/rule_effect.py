"""What the rules that hold for a request do to its answer, as arrays over one model's items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from app.model.arrays import NO_ITEMS, FloatArray, IndexArray
from app.model.filters import FilterIndex
from app.model.popularity import Popularity
from model_store.attributes import AttributeValue

MAX_SHIFT = np.float32(30)
"""However many rules weight an item, its weight stays a number: they count for e^30 together."""
MAX_FEW = 4_000
MAX_REMEMBERED = 100_000
Value = str | int | float | bool


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """Items that are in no answer; item_indices, sorted."""

    items: IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """Items whose weight is multiplied (`boost`) or divided (`bury`); item_indices, sorted."""

    name: str
    action: str
    factor: float
    items: IndexArray

    @property
    def shift(self) -> np.float32:
        """What their scores gain in logits: the factor's logarithm, negative for a bury."""
        shift = np.log(np.float64(self.factor))
        return np.float32(shift if self.action == "boost" else -shift)

    def explain(self) -> dict[str, Any]:
        """Its part in an item's explanation."""
        return {"name": self.name, "action": self.action, "factor": self.factor}


@dataclass(frozen=True, slots=True, eq=False)
class Pinned:
    """An item with a rank of its own, 1 being the first."""

    name: str
    item: int
    rank: int


@dataclass(frozen=True, slots=True, eq=False)
class Capped:
    """At most so many items of an answer share a value of an attribute.

    Attributes:
        values: of all items; `values[item_index - 1]` is an item's, each part of a list for itself.
    """

    name: str
    attribute: str
    at_most: int
    values: Sequence[AttributeValue]

    def values_of(self, item: int) -> tuple[Value, ...]:
        """The different values of an item."""
        value = self.values[item - 1]
        if value is None:
            return ()
        return tuple(dict.fromkeys(value)) if isinstance(value, list) else (value,)


class CapSlots:
    """Numbers for the values that caps count, so that an answer's walk compares small integers.

    Args:
        capped: the caps.
        index: of the attributes.
    """

    def __init__(self, capped: Sequence[Capped], index: FilterIndex) -> None:
        self._capped = capped
        self._index = index
        self._slots: dict[tuple[int, Value], int] = {}
        self._lock = Lock()  # requests are answered in threads, too
        self.by_slot: list[tuple[Capped, IndexArray]] = []
        """By slot, the cap, and the items with the value, sorted."""
        self.limits: list[int] = []
        """By slot, how many items of an answer may have the value."""
        self.known: dict[int, tuple[int, ...]] = {}
        """By item, what `of` has found."""
        self._positions: dict[int, npt.NDArray[np.intp]] = {}

    def of(self, item: int) -> tuple[int, ...]:
        """The slots of an item's values, of all caps."""
        found = self.known.get(item)
        if found is None:
            found = tuple(
                self._slot(number, value)
                for number, one in enumerate(self._capped)
                for value in one.values_of(item)
            )
            if len(self.known) >= MAX_REMEMBERED:
                self.known.clear()
            self.known[item] = found
        return found

    def positions_of(self, slot: int) -> npt.NDArray[np.intp]:
        """The items with a slot's value; numpy sets these four times as fast as by int32."""
        found = self._positions.get(slot)
        if found is None:
            found = self._positions[slot] = self.by_slot[slot][1].astype(np.intp)
        return found

    def _slot(self, number: int, value: Value) -> int:
        with self._lock:
            slot = self._slots.get((number, value))
            if slot is None:
                cap = self._capped[number]
                found = self._index.having(cap.attribute, [value])
                self.by_slot.append((cap, found[0] if found else NO_ITEMS))
                self.limits.append(cap.at_most)
                slot = self._slots[number, value] = len(self._slots)
        return slot


Part = Hidden | Weighted | Pinned | Capped


@dataclass(frozen=True, eq=False)
class Effect:
    """All of it together; immutable, what is cached is computed when it is needed first.

    Attributes:
        n_items: N of the model.
        index: over its items' attributes.
        hidden: item_indices, sorted.
        pinned: by rank, of two alike in the order of the rules.
    """

    n_items: int
    index: FilterIndex
    hidden: IndexArray
    weighted: tuple[Weighted, ...]
    pinned: tuple[Pinned, ...]
    capped: tuple[Capped, ...]

    @classmethod
    def of(cls, parts: Sequence[Part], n_items: int, index: FilterIndex) -> Effect:
        """The effect of several rules, in their order."""
        hidden = [one.items for one in parts if isinstance(one, Hidden)]
        pinned = [one for one in parts if isinstance(one, Pinned)]
        return cls(
            n_items,
            index,
            np.unique(np.concatenate(hidden)) if hidden else NO_ITEMS,
            tuple(one for one in parts if isinstance(one, Weighted)),
            tuple(sorted(pinned, key=lambda pin: pin.rank)),
            tuple(one for one in parts if isinstance(one, Capped)),
        )

    def joined(self, parts: Sequence[Part]) -> Effect:
        """The same with further rules."""
        further = Effect.of(parts, self.n_items, self.index)
        return Effect(
            self.n_items,
            self.index,
            self.hidden,
            self.weighted + further.weighted,
            self.pinned,
            self.capped + further.capped,
        )

    @cached_property
    def shift(self) -> FloatArray | None:
        """What each item's score gains in logits, float32 [N+1]; None: no item is weighted."""
        if not self.weighted:
            return None
        shift = np.zeros(self.n_items + 1, dtype=np.float32)
        for one in self.weighted:
            shift[one.items] += one.shift
        clipped: FloatArray = np.clip(shift, -MAX_SHIFT, MAX_SHIFT)
        return clipped

    @cached_property
    def cap_slots(self) -> CapSlots:
        """Numbers for the values that the caps count."""
        return CapSlots(self.capped, self.index)

    @cached_property
    def arranges(self) -> bool:
        """Whether pins or caps choose an answer's items, or their order."""
        return bool(self.pinned or self.capped)

    @cached_property
    def starts(self) -> dict[tuple[int, ...], Any]:
        """What is the same for all answers of k items with certain pinned ones, as they begin."""
        return {}

    @cached_property
    def pinned_items(self) -> IndexArray:
        """The pinned items, sorted."""
        return np.unique(np.array([pin.item for pin in self.pinned], dtype=np.int32))

    @cached_property
    def groups(self) -> tuple[IndexArray, list[IndexArray]]:
        """The weighted items of small groups in one set; and the large groups, weighted alike each.

        All sorted. To score a few items too many costs less than to look for the best of each
        group.
        """
        if self.shift is None:
            return NO_ITEMS, []
        items = np.flatnonzero(self.shift).astype(np.int32)
        shifts, group_of = np.unique(self.shift[items], return_inverse=True)
        groups = sorted((items[group_of == group] for group in range(len(shifts))), key=len)
        n_few = int(np.searchsorted(np.cumsum([len(one) for one in groups]), MAX_FEW, "right"))
        few = np.sort(np.concatenate([NO_ITEMS, *groups[:n_few]]))
        return few, groups[n_few:]

    @cached_property
    def visible(self) -> IndexArray:
        """All items that are not hidden, sorted."""
        is_visible = np.ones(self.n_items + 1, dtype=np.bool_)
        is_visible[0] = False
        is_visible[self.hidden] = False
        return np.flatnonzero(is_visible).astype(np.int32)

    @cached_property
    def _popularities(self) -> dict[int, Popularity]:
        return {}

    def popularity(self, plain: Popularity) -> Popularity:
        """Popularity by the items' weights.

        An item of c interactions weighs c + 1, so that a boost helps also one that has none.
        """
        if self.shift is None:
            return plain
        found = self._popularities.get(id(plain))
        if found is None:
            weights = (plain.counts.astype(np.float64) + 1) * np.exp(self.shift.astype(np.float64))
            found = self._popularities[id(plain)] = Popularity((weights - 1).astype(np.float32))
        return found

    def weighted_by(self, item: int) -> list[Weighted]:
        """The rules that weight an item."""
        found = []
        for one in self.weighted:
            place = int(one.items.searchsorted(item))
            if place < len(one.items) and one.items[place] == item:
                found.append(one)
        return found
