"""A request, checked against a model: allowed and excluded items, and the user's data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from app.model.arrays import NO_ITEMS, IndexArray
from app.model.filters import describe_names
from app.model.model import Model
from app.model.ranking import are_members
from app.model.rule_effect import Effect
from app.recommend.exploration import Draws
from app.recommend.query import Query
from app.recommend.rules import effect_on
from app.recommend.unmatched import describe_unmatched
from app.reranking.outcome import RerankOutcome
from app.store.deadline import Deadline
from model_store.errors import InvalidField
from model_store.history import History

# A retriever meets fewer excluded items during its search; more make it search deeper.
MAX_EXCLUDED = 250


@dataclass(slots=True)
class Plan:
    """A checked request on its way to an answer.

    Attributes:
        allowed: sorted item_indices to choose among; None means all.
        excluded: item_indices never to be returned, in any order.
        rules: what rules do to the answer; None: none holds for it.
        deadline: counted from the request's arrival; None sets no limit.
        degraded: missing parts of the answer, in the contract's words.
        draws: how to draw the first ranks at random, if the answer can be; None: they aren't.
    """

    query: Query
    allowed: IndexArray | None
    excluded: IndexArray
    deadline: Deadline | None
    degraded: list[str]
    history: History = field(default_factory=History)
    reranked: RerankOutcome = "skipped"
    rules: Effect | None = None
    draws: Draws | None = None


def make_plans(queries: Sequence[Query], model: Model, arrived_at_s: float) -> list[Plan]:
    """A plan for each query, in their order.

    Args:
        queries: of one request.
        model: its items and attributes are used.
        arrived_at_s: when the request arrived, on the monotonic clock.

    Raises:
        InvalidField: a query names an unknown attribute, or one that a filter doesn't fit.
    """
    return [make_plan(query, model, arrived_at_s) for query in queries]


def try_plans(
    queries: Sequence[Query], model: Model, arrived_at_s: float
) -> list[Plan | InvalidField]:
    """As `make_plans`, but a query that is wrong has its error in its place."""
    made: list[Plan | InvalidField] = []
    for query in queries:
        try:
            made.append(make_plan(query, model, arrived_at_s))
        except InvalidField as error:
            made.append(error)
    return made


def make_plan(query: Query, model: Model, arrived_at_s: float) -> Plan:
    """The plan of one query; see `make_plans`."""
    degraded: list[str] = []
    if query.fields:
        check_fields(query.fields, model)
    allowed = None
    if query.filters:
        matches = model.filters.match(query.filters)
        allowed = matches.items
        degraded.extend(describe_unmatched(matches))
    if query.candidates is not None:
        candidates, n_unknown = model.ids.indices(query.candidates)
        candidates = np.unique(candidates)
        if allowed is None:
            allowed = candidates
        else:
            allowed = np.intersect1d(allowed, candidates, assume_unique=True)
        if n_unknown:
            degraded.append(f"unknown_candidates:{n_unknown}")
    if allowed is not None:
        allowed = model.availability.permitted(allowed)
    # An unknown item is never returned anyway, so an unknown exclusion is not reported.
    excluded = model.ids.indices(query.exclude)[0] if query.exclude else NO_ITEMS
    deadline = None
    if query.deadline_ms is not None:
        deadline = Deadline.after_ms(query.deadline_ms, arrived_at_s)
    plan = Plan(query, allowed, excluded, deadline, degraded)
    if model.rules is not None or query.boosts or query.caps:
        plan.rules = effect_on(query, model, degraded)
        _hide(plan, model)
    if query.history is not None:
        plan.history = History(*model.ids.indices(query.history))
    return plan


def _hide(plan: Plan, model: Model) -> None:
    """Leave out what rules hide: a few items are excluded, of many the others are allowed."""
    if plan.rules is None or not len(plan.rules.hidden):
        return
    hidden = plan.rules.hidden
    if len(hidden) <= MAX_EXCLUDED:
        plan.excluded = np.concatenate([plan.excluded, hidden]) if len(plan.excluded) else hidden
    elif plan.allowed is None:
        plan.allowed = model.availability.permitted(plan.rules.visible)
    else:
        plan.allowed = plan.allowed[~are_members(plan.allowed, hidden)]


def check_fields(fields: Sequence[str], model: Model) -> None:
    """Raise InvalidField for the first field that items of an answer can't have."""
    for position, name in enumerate(fields):
        if name not in model.field_kinds:
            message = f"unknown field; {describe_names(model.field_kinds)}"
            raise InvalidField(f"fields[{position}]", name, message)
