"""Estimates the work of a step, to decide whether the event loop may do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.model.filters import Rule
from app.model.model import Model
from app.recommend.plan import Plan
from app.recommend.query import Query
from app.recommend.selection import Choice

# Work of more than a few milliseconds leaves the event loop.
MAX_ROWS_ON_LOOP = 8
MAX_DIVERSE_ON_LOOP = 100
# Rules pass over all items where they are weighted.
MAX_RULED_ON_LOOP = 100_000
# Ratings predicted, at about a microsecond each.
MAX_RATED_ON_LOOP = 2_000
# Ids looked up, at some 150 ns each.
MAX_LOOKUPS_ON_LOOP = 5_000
# A filter's value, whose items are put together, takes about as long as so many ids.
LOOKUPS_A_VALUE = 5
# A filter's clause takes about as long as one look-up for this many items of the catalogue.
ITEMS_A_LOOKUP = 150
# Items written into answers, at half a microsecond each.
MAX_ITEMS_ON_LOOP = 2_000
# Items written and encoded in one loop iteration.
MAX_ITEMS_AT_ONCE = 250
# Limit on scores that are held at once, in numbers: 64 MiB.
MAX_SCORES = 16 * 1024 * 1024


def are_long(queries: Sequence[Query], model: Model) -> bool:
    """Whether planning takes long: lists of ids, and filters on a large catalogue."""
    n_lookups = 0
    for query in queries:
        n_lookups += len(query.history or ()) + len(query.exclude or ())
        n_lookups += len(query.candidates or ())
        if query.filters:
            n_lookups += _lookups_of(query.filters, model)
        for boost in query.boosts or ():
            n_lookups += len(boost.item_ids or ()) + _lookups_of(boost.filters or {}, model)
    return n_lookups > MAX_LOOKUPS_ON_LOOP


def _lookups_of(filters: Mapping[str, Rule], model: Model) -> int:
    n_lookups = 0
    for rule in filters.values():
        n_lookups += 1 + len(model.ids) // ITEMS_A_LOOKUP
        n_values = len(rule.any or ()) + len(rule.all or ()) + len(rule.none or ())
        n_lookups += n_values * LOOKUPS_A_VALUE
    return n_lookups


def are_heavy(plans: Sequence[Plan], model: Model) -> bool:
    """Whether scoring, choosing and explaining take long."""
    if len(plans) > MAX_ROWS_ON_LOOP:
        return True
    if model.rating is not None:
        n_ranked = min(len(model.ids), model.rating.info.max_ranked)
        if len(plans) * n_ranked > MAX_RATED_ON_LOOP:
            return True
    for plan in plans:
        query = plan.query
        if query.explain or query.interests is not None:
            return True
        if plan.rules is not None and plan.rules.n_items > MAX_RULED_ON_LOOP:
            return True
        if query.diversity > 0 and query.k > MAX_DIVERSE_ON_LOOP:
            return True
    return False


def are_large(choices: Sequence[Choice]) -> bool:
    """Whether writing the answers takes long."""
    return len(choices) > 1 and sum(len(one.items) for one in choices) > MAX_ITEMS_ON_LOOP


def are_many(choices: Sequence[Choice]) -> bool:
    """Whether others get their turn before the answers are written, and before their encoding."""
    return sum(len(one.items) for one in choices) > MAX_ITEMS_AT_ONCE


def divide(plans: Sequence[Plan], model: Model) -> list[Sequence[Plan]]:
    """The plans in parts whose scores fit in memory."""
    if len(plans) == 1:
        return [plans]
    at_once = max(1, MAX_SCORES // len(model.table))
    if len(plans) <= at_once:
        return [plans]
    return [plans[start : start + at_once] for start in range(0, len(plans), at_once)]
