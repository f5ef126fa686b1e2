"""Rules on item attributes, answered from an inverted index that is built with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from app.model.arrays import NO_ITEMS, IndexArray
from app.model.attribute_index import (
    SORTING_SHARE,
    FilterValue,
    NumberColumn,
    TextPostings,
    find_unfit,
)
from app.model.background import yield_cpu
from app.model.ranking import Mask, are_members
from model_store.attributes import AttributeValue, ItemAttributes
from model_store.errors import InvalidField

NAMES_SHOWN = 20
# Up to this many sets are intersected one by one; more by counting the sets that hold each item.
FEW_SETS = 8
_FITTING = {
    "number": "gte, lte, any, none",
    "text": "any, none",
    "boolean": "any, none",
    "list": "any, all, none",
}


class Rule(Protocol):
    """A rule on one attribute; all given parts must hold."""

    @property
    def any(self) -> Sequence[FilterValue] | None:
        """Has at least one of these."""

    @property
    def all(self) -> Sequence[FilterValue] | None:
        """Has every one of these."""

    @property
    def none(self) -> Sequence[FilterValue] | None:
        """Has none of these."""

    @property
    def gte(self) -> float | None:
        """At least this number."""

    @property
    def lte(self) -> float | None:
        """At most this number."""


@dataclass(frozen=True)
class Matches:
    """Items that pass filters.

    Attributes:
        items: sorted item_indices of the items that pass every rule.
        unmatched: conditions that no item of the catalogue meets: the attribute with a value, or
            with the side of a range ("gte" or "lte") and its number.
    """

    items: IndexArray
    unmatched: list[tuple[str, str | tuple[str, float]]]


@dataclass
class _Clauses:
    """Sets an item must be in, sets it must not be in, and conditions that no item meets."""

    inside: list[IndexArray] = field(default_factory=list)
    outside: list[IndexArray] = field(default_factory=list)
    unmatched: list[tuple[str, str | tuple[str, float]]] = field(default_factory=list)


class FilterIndex:
    """Inverted index over all attributes of N items.

    Attributes:
        n_items: N.
        n_changes: how often an item's value was changed; what is kept of `match` holds while this
            stays the same.
    """

    def __init__(self, attributes: ItemAttributes) -> None:
        self.n_items = attributes.n_items
        self.n_changes = 0
        self._columns: dict[str, TextPostings | NumberColumn] = {}
        for name in attributes.names:
            attribute = attributes.get(name)
            assert attribute is not None  # noqa: S101 - it is one of its own names
            kind = NumberColumn if attribute.kind == "number" else TextPostings
            self._columns[name] = kind(attribute)
            yield_cpu()

    def change(
        self, item_index: int, name: str, before: AttributeValue, after: AttributeValue
    ) -> None:
        """Find an item by another value of an attribute; costs the same in every catalogue."""
        self._columns[name].change(item_index, before, after)
        self.n_changes += 1

    def having(self, name: str, values: Sequence[FilterValue]) -> list[IndexArray]:
        """For each of the values that some item has, these items, sorted.

        Args:
            name: of an attribute.
            values: of its kind.
        """
        return self._columns[name].look_up(values, [])

    def match(self, filters: Mapping[str, Rule]) -> Matches:
        """The items that pass every rule, and the conditions that no item meets.

        Raises:
            InvalidField: the attribute is unknown or of a kind the rule doesn't fit.
        """
        clauses = _Clauses()
        for name, rule in filters.items():
            column = self._columns.get(name)
            if column is None:
                raise self._unknown(name)
            if isinstance(column, NumberColumn):
                self._add_range(clauses, name, rule, column)
            elif rule.gte is not None or rule.lte is not None:
                self._reject_parts(name, column.kind, gte=rule.gte, lte=rule.lte)
            self._add_values(clauses, name, rule, column)
        return Matches(self._combine(clauses), clauses.unmatched)

    def _add_range(self, clauses: _Clauses, name: str, rule: Rule, column: NumberColumn) -> None:
        if rule.gte is None and rule.lte is None:
            return
        found = column.between(rule.gte, rule.lte)
        clauses.inside.append(found)
        if not len(found):
            sides = (("gte", rule.gte), ("lte", rule.lte))
            clauses.unmatched += [(name, (side, at)) for side, at in sides if at is not None]

    def _add_values(
        self, clauses: _Clauses, name: str, rule: Rule, column: TextPostings | NumberColumn
    ) -> None:
        if rule.all is not None and column.kind != "list":
            self._reject_parts(name, column.kind, all=rule.all)
        for part, values in (("any", rule.any), ("none", rule.none)):
            unfit = find_unfit(column.kind, values or ())
            if unfit is not None:
                message = f"attribute {name!r} is a {column.kind}, and {unfit!r:.100} is none"
                raise InvalidField(f"filters.{name}.{part}", values, message)
        unmatched: list[str] = []
        if rule.any is not None:
            found = column.look_up(rule.any, unmatched)
            clauses.inside.append(_unite(found, self.n_items))
        if rule.all is not None:
            n_unmatched = len(unmatched)
            found = column.look_up(rule.all, unmatched)
            if len(unmatched) > n_unmatched:
                clauses.inside.append(NO_ITEMS)
            elif len(found) <= FEW_SETS:
                clauses.inside.extend(found)
            else:
                clauses.inside.append(_intersect(found))
        if rule.none is not None:
            found = column.look_up(rule.none, unmatched)
            clauses.outside.append(_unite(found, self.n_items))
        if unmatched:
            clauses.unmatched += [(name, value) for value in dict.fromkeys(unmatched)]

    def _combine(self, clauses: _Clauses) -> IndexArray:
        inside = sorted(clauses.inside, key=len)
        found = inside[0] if inside else np.arange(1, self.n_items + 1, dtype=np.int32)
        for items in inside[1:]:
            found = found[self._are_in(items, found)]
        for items in clauses.outside:
            found = found[~self._are_in(items, found)]
        return found

    def _are_in(self, items: IndexArray, found: IndexArray) -> Mask:
        """The items of `found` that are in `items`; both are sorted."""
        if min(len(items), len(found)) < SORTING_SHARE * self.n_items:
            return are_members(found, items)
        members = np.zeros(self.n_items + 1, dtype=np.bool_)
        members[items] = True
        return members[found]

    def _unknown(self, name: str) -> InvalidField:
        known = {known: column.kind for known, column in self._columns.items()}
        return InvalidField(f"filters.{name}", name, f"unknown attribute; {describe_names(known)}")

    def _reject_parts(self, name: str, kind: str, **parts: object) -> None:
        fitting = _FITTING[kind]
        for part, value in parts.items():
            if value is not None:
                known = {known: column.kind for known, column in self._columns.items()}
                raise InvalidField(
                    f"filters.{name}.{part}",
                    value,
                    f"attribute {name!r} is a {kind}: it takes {fitting}; {describe_names(known)}",
                )


def _unite(sets: Sequence[IndexArray], n_items: int) -> IndexArray:
    """Sorted items that are in at least one of these sorted sets."""
    if len(sets) <= 1:
        return sets[0] if sets else NO_ITEMS
    if sum(map(len, sets)) < SORTING_SHARE * n_items:
        return np.unique(np.concatenate(sets))
    members = np.zeros(n_items + 1, dtype=np.bool_)
    for items in sets:
        members[items] = True
    return np.flatnonzero(members).astype(np.int32)


def _intersect(sets: Sequence[IndexArray]) -> IndexArray:
    """Items that are in every one of these sets; in the order of the smallest."""
    smallest = min(sets, key=len)
    if not len(smallest):
        return smallest
    counts = np.bincount(np.concatenate(sets))
    common: IndexArray = smallest[counts[smallest] == len(sets)]
    return common


def describe_names(kinds: Mapping[str, str]) -> str:
    """The known attributes with their kinds, as the end of a sentence."""
    if not kinds:
        return "there are no attributes"
    shown = ", ".join(f"{name} ({kind})" for name, kind in list(kinds.items())[:NAMES_SHOWN])
    more = f" and {len(kinds) - NAMES_SHOWN} more" if len(kinds) > NAMES_SHOWN else ""
    return f"known are {shown}{more}"
