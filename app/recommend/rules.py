"""The rules that hold for a query: operators' and its own."""

from __future__ import annotations

from time import time

from app.model.arrays import NO_ITEMS, IndexArray
from app.model.model import Model
from app.model.rule_book import compile_request
from app.model.rule_effect import Effect
from app.recommend.query import Query


def effect_on(query: Query, model: Model, degraded: list[str]) -> Effect | None:
    """What rules do to the answer to a query; None: none holds for it.

    Args:
        query: may have rules of its own.
        model: with operators' rules.
        degraded: of the answer; it is told of items that the query boosts and nobody knows.

    Raises:
        InvalidField: the query's rules name an unknown attribute, or one that a filter doesn't fit.
    """
    effect = None
    if model.rules is not None:
        effect = model.rules.effect(query.context, query.arm, time())
    if query.boosts or query.caps:
        parts, n_unknown = compile_request(query.boosts or (), query.caps or (), model)
        effect = (effect or Effect.of((), len(model.ids), model.filters)).joined(parts)
        if n_unknown:
            degraded.append(f"unknown_boosted:{n_unknown}")
    return effect


def hidden_now(model: Model) -> IndexArray:
    """The items that operators' rules hide at present from everybody."""
    effect = None if model.rules is None else model.rules.effect(None, None, time())
    return NO_ITEMS if effect is None else effect.hidden
