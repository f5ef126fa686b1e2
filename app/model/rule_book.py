"""Operators' rules, compiled once for a model: which of them hold for a request, and what they do.

A version may lack an item or an attribute that a rule names. That rule does nothing there, as far
as it names it, and the book says so; it is never an error of a request.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from time import perf_counter, time
from typing import Protocol

import numpy as np

from app.model.arrays import IndexArray
from app.model.background import yield_cpu
from app.model.filters import FilterIndex, Matches, describe_names
from app.model.rule_effect import Capped, Effect, Hidden, Part, Pinned, Weighted
from model_store.attributes import ItemAttributes
from model_store.compatibility import kinds_of
from model_store.errors import InvalidField
from model_store.id_map import IdMap
from model_store.item_filter import FilterValue, spelled
from model_store.rules import (
    Boost,
    Bury,
    Cap,
    Hide,
    Pin,
    RequestBoost,
    RequestCap,
    Rule,
    RuleSet,
    Selection,
    unix_s,
)

MAX_EFFECTS = 64
"""Combinations of rules whose arrays are kept: of times, contexts and arms there are few."""
MAX_SHARE = 0.05


class HasItems(Protocol):
    """A version, whose items rules are about."""

    @property
    def ids(self) -> IdMap:
        """Their ids."""

    @property
    def attributes(self) -> ItemAttributes:
        """Their attributes."""

    @property
    def filters(self) -> FilterIndex:
        """The index over the attributes."""


@dataclass(frozen=True, eq=False)
class Items:
    """Items of a version, and nothing else of it."""

    ids: IdMap
    attributes: ItemAttributes
    filters: FilterIndex

    @classmethod
    def of(cls, version: HasItems) -> Items:
        """The items of a version; they change with it."""
        return cls(version.ids, version.attributes, version.filters)


@dataclass(frozen=True, slots=True)
class _Span:
    """A time in which no rule begins or ends, and the rules that hold then for all requests."""

    begins_s: float
    until_s: float
    which: int
    effect: Effect | None


@dataclass(frozen=True, slots=True)
class _Condition:
    """When a rule holds; unix seconds, and a context's values as texts."""

    begins_s: float
    until_s: float
    context: tuple[tuple[str, str], ...]
    arms: frozenset[str]

    @classmethod
    def of(cls, rule: Rule) -> _Condition | None:
        """The condition of a rule; None: it always holds."""
        if not (rule.begins or rule.until or rule.context or rule.arms):
            return None
        return cls(
            unix_s(rule.begins) if rule.begins else -inf,
            unix_s(rule.until) if rule.until else inf,
            tuple((name, spelled(value)) for name, value in (rule.context or {}).items()),
            frozenset(rule.arms or ()),
        )

    @property
    def is_personal(self) -> bool:
        """Whether it holds for some requests only."""
        return bool(self.context or self.arms)

    def holds(
        self, context: Mapping[str, FilterValue] | None, arm: str | None, now_s: float
    ) -> bool:
        """Whether it holds for a request."""
        if not self.begins_s <= now_s < self.until_s:
            return False
        if self.arms and arm not in self.arms:
            return False
        for name, value in self.context:
            given = None if context is None else context.get(name)
            if given is None or spelled(given) != value:
                return False
        return True


class RuleBook:
    """Rules compiled for the items of one model; compiled again where attributes have changed.

    Args:
        stamp: tells the rules from others.
        rules: in their order.
        model: holds the items.
    """

    def __init__(self, stamp: object, rules: Sequence[Rule], model: HasItems) -> None:
        self.stamp = stamp
        # The model itself may hold an earlier book.
        self._rules, self._items = rules, Items.of(model)
        self._compiled = self._compile()

    @property
    def faults(self) -> list[InvalidField]:
        """What a rule names and the items lack, in the order of the rules."""
        return self._compiled.faults

    @property
    def warnings(self) -> list[str]:
        """What of the rules does nothing for these items, in one line each."""
        return [*map(str, self._compiled.faults), *self._compiled.notes]

    @property
    def is_outdated(self) -> bool:
        """Whether attributes have changed since the rules were compiled, and it is time to do so.

        Under a stream of changes, a twentieth of the time is spent on it.
        """
        compiled = self._compiled
        if compiled.n_changes == self._items.filters.n_changes:
            return False
        return perf_counter() - compiled.done_at_s > compiled.took_s / MAX_SHARE

    def compile_again(self) -> None:
        """Follow the changes of attributes; takes time, and readers need no lock."""
        self._compiled = self._compile()

    def effect(
        self, context: Mapping[str, FilterValue] | None, arm: str | None, now_s: float
    ) -> Effect | None:
        """The effect on a request; None: no rule holds for it.

        Args:
            context: of the request.
            arm: of the experiment that the request belongs to.
            now_s: unix seconds.
        """
        return self._compiled.effect(context, arm, now_s)

    def _compile(self) -> _Compiled:
        return _Compiled(self._rules, self._items)


class _Compiled:
    """What rules do to the items as their attributes were at one time.

    Attributes:
        n_changes: of the attributes, when it was begun.
        took_s, done_at_s: how long it took, and when it was done.
    """

    def __init__(self, rules: Sequence[Rule], items: Items) -> None:
        started = perf_counter()
        self.n_changes = items.filters.n_changes
        self._n_items, self._index = len(items.ids), items.filters
        self.faults: list[InvalidField] = []
        self.notes: list[str] = []
        compiled: list[tuple[_Condition | None, list[Part]]] = []
        for number, rule in enumerate(rules):
            compiled.append((_Condition.of(rule), self._compile(number, rule, items)))
            yield_cpu()
        self._parts = [parts for _, parts in compiled]
        conditions = [
            (1 << number, condition)
            for number, (condition, _) in enumerate(compiled)
            if condition is not None
        ]
        self._always = sum(1 << n for n, (condition, _) in enumerate(compiled) if not condition)
        self._timed = [one for one in conditions if not one[1].is_personal]
        self._personal = [one for one in conditions if one[1].is_personal]
        self._effects: dict[int, Effect | None] = {}
        self._span = self._span_at(time())
        self.done_at_s = perf_counter()
        self.took_s = self.done_at_s - started

    def effect(
        self, context: Mapping[str, FilterValue] | None, arm: str | None, now_s: float
    ) -> Effect | None:
        """See `RuleBook.effect`; the conditions of times are looked at as one begins or ends."""
        span = self._span
        if not span.begins_s <= now_s < span.until_s:
            span = self._span = self._span_at(now_s)
        if not self._personal or (not context and arm is None):
            return span.effect
        which = span.which
        for bit, condition in self._personal:
            if condition.holds(context, arm, now_s):
                which |= bit
        return span.effect if which == span.which else self._effect_of(which)

    def _span_at(self, now_s: float) -> _Span:
        which, begins_s, until_s = self._always, -inf, inf
        for bit, condition in self._timed:
            if condition.holds(None, None, now_s):
                which |= bit
            for border_s in (condition.begins_s, condition.until_s):
                if border_s <= now_s:
                    begins_s = max(begins_s, border_s)
                else:
                    until_s = min(until_s, border_s)
        return _Span(begins_s, until_s, which, self._effect_of(which))

    def _effect_of(self, which: int) -> Effect | None:
        """The effect of some of the rules, by their bits."""
        try:
            return self._effects[which]
        except KeyError:
            pass
        parts = [part for n, some in enumerate(self._parts) if which >> n & 1 for part in some]
        effect = Effect.of(parts, self._n_items, self._index) if parts else None
        if len(self._effects) >= MAX_EFFECTS:
            self._effects.clear()
        self._effects[which] = effect
        return effect

    def _compile(self, number: int, rule: Rule, items: Items) -> list[Part]:
        """What a rule does here; nothing, and a fault, where it can't."""
        try:
            match rule:
                case Pin():
                    index = items.ids.index_of(rule.item_id)
                    if index is None:
                        raise InvalidField("item_id", rule.item_id, "unknown item")
                    return [Pinned(rule.name, index, rule.rank)]
                case Cap():
                    return [compile_cap(rule, rule.name, items)]
                case Hide() | Boost() | Bury():
                    found = self._select(number, rule, items)
                    if isinstance(rule, Hide):
                        return [Hidden(found)] if len(found) else []
                    return [Weighted(rule.name, rule.action, rule.factor, found)]
        except InvalidField as error:
            self._note_fault(number, rule, error)
        return []

    def _select(self, number: int, rule: Hide | Boost | Bury, items: Items) -> IndexArray:
        found, matches = select(rule, items)
        for place, item_id in enumerate(rule.item_ids or ()):
            if item_id not in items.ids:
                unknown = InvalidField(f"item_ids[{place}]", item_id, "unknown item")
                self._note_fault(number, rule, unknown)
        if matches is not None and not len(matches.items):
            conditions = {name: filter_.given() for name, filter_ in (rule.filters or {}).items()}
            shown = json.dumps(conditions, ensure_ascii=False)
            self.notes.append(f"rule {rule.name!r}: no item meets its filters {shown:.200}")
        return found

    def _note_fault(self, number: int, rule: Rule, error: InvalidField) -> None:
        message = f"rule {rule.name!r}: {error.message}"
        self.faults.append(InvalidField(f"rules[{number}].{error.field}", error.value, message))


def compile_set(rules: RuleSet, model: HasItems) -> RuleBook | None:
    """The book of a set of rules; None: there are none."""
    return RuleBook(rules.stamp, rules.rules, model) if rules.rules else None


def select(selection: Selection, items: HasItems) -> tuple[IndexArray, Matches | None]:
    """The selected items, sorted; and what the filters match, where there are any.

    Raises:
        InvalidField: a filter names an unknown attribute, or one that it doesn't fit.
    """
    found, matches = [], None
    if selection.filters:
        matches = items.filters.match(selection.filters)
        found.append(matches.items)
    if selection.item_ids:
        found.append(items.ids.indices(selection.item_ids)[0])
    return np.unique(np.concatenate(found)).astype(np.int32), matches


def compile_cap(cap: Cap | RequestCap, name: str, items: HasItems) -> Capped:
    """A cap over the items.

    Raises:
        InvalidField: the attribute is unknown.
    """
    attribute = items.attributes.get(cap.attribute)
    if attribute is None:
        known = describe_names(kinds_of(items.attributes))
        raise InvalidField("attribute", cap.attribute, f"unknown attribute; {known}")
    return Capped(name, cap.attribute, cap.at_most, attribute.values)


def compile_request(
    boosts: Sequence[RequestBoost], caps: Sequence[RequestCap], items: HasItems
) -> tuple[list[Part], int]:
    """The rules of one request, and how many of the items that they list are unknown.

    Raises:
        InvalidField: one names an unknown attribute, or one that a filter doesn't fit.
    """
    parts: list[Part] = []
    n_unknown = 0
    for number, boost in enumerate(boosts):
        place = f"boosts[{number}]"
        with _errors_at(place):
            found, _ = select(boost, items)
        parts.append(Weighted(boost.name or place, boost.action, boost.factor, found))
        n_unknown += _count_unknown(boost.item_ids or (), items.ids)
    for number, cap in enumerate(caps):
        place = f"caps[{number}]"
        with _errors_at(place):
            parts.append(compile_cap(cap, cap.name or place, items))
    return parts, n_unknown


def _count_unknown(item_ids: Collection[str], ids: IdMap) -> int:
    return sum(item_id not in ids for item_id in item_ids)


@contextmanager
def _errors_at(place: str) -> Iterator[None]:
    """Errors within get the path of the rule that they are about."""
    try:
        yield
    except InvalidField as error:
        raise InvalidField(f"{place}.{error.field}", error.value, error.message) from None
