"""Rules on item attributes, answered from an inverted index made when a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.model.arrays import NO_ITEMS, IndexArray
from app.model.background import yield_cpu
from model_store.attributes import Attribute, ItemAttributes
from model_store.errors import InvalidField

NAMES_SHOWN = 20
# Below this share of the catalogue, sorting the items found beats passing over all items.
SORTING_SHARE = 1 / 256


class Rule(Protocol):
    """A rule on one attribute; all parts that are given must hold."""

    @property
    def any(self) -> Sequence[str] | None:
        """Has at least one of these."""

    @property
    def all(self) -> Sequence[str] | None:
        """Has every one of these."""

    @property
    def none(self) -> Sequence[str] | None:
        """Has not one of these."""

    @property
    def gte(self) -> float | None:
        """At least this number."""

    @property
    def lte(self) -> float | None:
        """At most this number."""


class TextPostings:
    """value → sorted item_indices, for text and list attributes, as CSR."""

    def __init__(self, attribute: Attribute) -> None:
        self.kind = attribute.kind
        self._n_items = len(attribute.values)
        slots: dict[str, int] = {}
        slot_of: list[int] = []
        items: list[int] = []
        for item_index, value in enumerate(attribute.values, start=1):
            texts = {value} if isinstance(value, str) else set(value or ())  # type: ignore[arg-type]
            for text in texts:
                slot_of.append(slots.setdefault(text, len(slots)))
                items.append(item_index)
        # A stable sort by slot keeps the item_indices of each value ascending.
        order = np.argsort(np.array(slot_of, dtype=np.int64), kind="stable")
        self._items = np.array(items, dtype=np.int32)[order]
        counts = np.bincount(np.array(slot_of, dtype=np.int64), minlength=len(slots))
        self._offsets = np.concatenate(([0], np.cumsum(counts)))
        self._slots = slots

    def having(self, value: str) -> IndexArray:
        """Sorted item_indices of the items with this value."""
        slot = self._slots.get(value)
        if slot is None:
            return NO_ITEMS
        return self._items[self._offsets[slot] : self._offsets[slot + 1]]

    def having_any(self, values: Iterable[str]) -> IndexArray:
        """Sorted item_indices of the items with at least one of these values."""
        found = [self.having(value) for value in set(values)]
        if len(found) == 1:
            return found[0]
        if sum(map(len, found)) < SORTING_SHARE * self._n_items:
            return np.unique(np.concatenate(found))
        members = np.zeros(self._n_items + 1, dtype=np.bool_)
        for items in found:
            members[items] = True
        return np.flatnonzero(members).astype(np.int32)


class NumberColumn:
    """The values of a number attribute, by item and in order."""

    def __init__(self, attribute: Attribute) -> None:
        self.kind = attribute.kind
        values = [np.nan if value is None else value for value in attribute.values]
        # Row 0 is padding; NaN compares false with everything, which is what a missing value must.
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


@dataclass
class _Clauses:
    """Sets an item must be in, and sets it must not be in."""

    inside: list[IndexArray] = field(default_factory=list)
    outside: list[IndexArray] = field(default_factory=list)


class FilterIndex:
    """Inverted index over all attributes of N items; immutable once made."""

    def __init__(self, attributes: ItemAttributes) -> None:
        self.n_items = attributes.n_items
        self._columns: dict[str, TextPostings | NumberColumn] = {}
        for name in attributes.names:
            attribute = attributes.get(name)
            assert attribute is not None  # noqa: S101 - it is one of its own names
            kind = NumberColumn if attribute.kind == "number" else TextPostings
            self._columns[name] = kind(attribute)
            yield_cpu()

    def matching(self, filters: Mapping[str, Rule]) -> IndexArray:
        """Sorted item_indices of the items that pass every rule.

        Raises:
            InvalidField: the attribute is unknown or of a kind the rule doesn't fit.
        """
        clauses = _Clauses()
        for name, rule in filters.items():
            self._add(clauses, name, rule)
        found = self._smallest_first(clauses.inside)
        for inside in clauses.inside[1:]:
            found = found[self._members(inside)[found]]
        for outside in clauses.outside:
            found = found[~self._members(outside)[found]]
        return found

    def _add(self, clauses: _Clauses, name: str, rule: Rule) -> None:
        column = self._columns.get(name)
        if column is None:
            raise self._unknown(name)
        if isinstance(column, NumberColumn):
            self._reject_parts(name, "number", any=rule.any, all=rule.all, none=rule.none)
            clauses.inside.append(column.between(rule.gte, rule.lte))
            return
        self._reject_parts(name, column.kind, gte=rule.gte, lte=rule.lte)
        if column.kind == "text":
            self._reject_parts(name, column.kind, all=rule.all)
        if rule.any is not None:
            clauses.inside.append(column.having_any(rule.any))
        clauses.inside.extend(column.having(value) for value in rule.all or ())
        clauses.outside.extend(column.having(value) for value in rule.none or ())

    def _smallest_first(self, inside: list[IndexArray]) -> IndexArray:
        if not inside:
            return np.arange(1, self.n_items + 1, dtype=np.int32)
        inside.sort(key=len)
        return inside[0]

    def _members(self, items: IndexArray) -> npt.NDArray[np.bool_]:
        members = np.zeros(self.n_items + 1, dtype=np.bool_)
        members[items] = True
        return members

    def _unknown(self, name: str) -> InvalidField:
        known = {known: column.kind for known, column in self._columns.items()}
        return InvalidField(f"filters.{name}", name, f"unknown attribute; {describe_names(known)}")

    def _reject_parts(self, name: str, kind: str, **parts: object) -> None:
        fitting = {"number": "gte, lte", "text": "any, none", "list": "any, all, none"}[kind]
        for part, value in parts.items():
            if value is not None:
                known = {known: column.kind for known, column in self._columns.items()}
                raise InvalidField(
                    f"filters.{name}.{part}",
                    value,
                    f"attribute {name!r} is a {kind}: it takes {fitting}; {describe_names(known)}",
                )


def describe_names(kinds: Mapping[str, str]) -> str:
    """The known attributes with their kinds, as the end of a sentence."""
    if not kinds:
        return "there are no attributes"
    shown = ", ".join(f"{name} ({kind})" for name, kind in list(kinds.items())[:NAMES_SHOWN])
    more = f" and {len(kinds) - NAMES_SHOWN} more" if len(kinds) > NAMES_SHOWN else ""
    return f"known are {shown}{more}"
