"""The recommend path, top to bottom: plan → features → infer → select → explain → respond.

One request is a batch of one. What a request asks for is checked before anything is looked up;
all users of a batch are read in one round trip and scored in one padded inference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from app.model.arrays import NO_ITEMS, NO_SCORES, FloatArray, IndexArray
from app.model.filters import describe_names
from app.model.model import Model
from app.model.ranking import mask, top_k
from app.recommend.diversity import diversify, pool_size
from app.recommend.explanation import (
    explain_by_history,
    explain_by_popularity,
    explain_by_similarity,
)
from app.recommend.query import Query, ServedBy
from app.store.deadline import Deadline
from app.store.feature_store import FeatureStore
from app.store.history import History
from model_store.errors import InvalidField

# Work that takes longer than some milliseconds leaves the event loop to others.
MAX_ROWS_ON_LOOP = 8
MAX_DIVERSE_ON_LOOP = 100
# Scores of a batch are held at once: this many numbers, 64 MiB.
MAX_SCORES = 16 * 1024 * 1024


@dataclass(slots=True)
class Plan:
    """A checked request, on its way to an answer."""

    request: Query
    allowed: IndexArray | None
    excluded: IndexArray
    degraded: list[str]
    history: History = field(default_factory=History)

    def served_by(self, model: Model) -> ServedBy:
        """Which stage can answer: the model needs a known item, cold start needs interests."""
        if len(self.history.items):
            return "model"
        return "cold_start" if self.request.interests and model.knowledge else "popular"


@dataclass(slots=True)
class Choice:
    """The items of an answer, best first, with scores and explanations."""

    served_by: ServedBy
    items: IndexArray
    scores: FloatArray
    explanations: list[dict[str, Any]] | None


class PlanBatcher(Protocol):
    """Joins plans of this moment, and has them answered together."""

    async def ask(self, asked: Sequence[Plan], context: Model) -> Sequence[Choice]:
        """Choices in the order of the plans."""


async def recommend(
    requests: Sequence[Query],
    model: Model,
    store: FeatureStore,
    batcher: PlanBatcher,
    *,
    in_batch: bool = False,
) -> list[dict[str, Any]]:
    """Answers in the order of the requests, as JSON-ready objects without their request_id.

    Args:
        requests: one, or with `in_batch` those of a batch.
        model: answers all of them.
        store: where histories are.
        batcher: joins this request with others that come at the same moment.
        in_batch: name the place of a request that is wrong.

    Raises:
        InvalidField: a request names an attribute that the catalogue doesn't have.
    """
    started = perf_counter()
    plans = make_plans(requests, model, in_batch=in_batch)
    await add_histories(plans, model, store)
    with_features = perf_counter()
    if is_heavy(plans):
        choices: Sequence[Choice] = await asyncio.to_thread(choose, plans, model)
    else:
        choices = await batcher.ask(plans, model)
    inferred = perf_counter()
    timings = {
        "features": (with_features - started) * 1e3,
        "inference": (inferred - with_features) * 1e3,
        "rerank": 0.0,
        "total": 0.0,
    }
    answers = [
        respond(plan, choice, model, timings) for plan, choice in zip(plans, choices, strict=True)
    ]
    timings["total"] = (perf_counter() - started) * 1e3
    return answers


def make_plans(requests: Sequence[Query], model: Model, *, in_batch: bool) -> list[Plan]:
    """A plan for each request; what is wrong with one of a batch is named with its place."""
    plans: list[Plan] = []
    for request in requests:
        try:
            plans.append(make_plan(request, model))
        except InvalidField as error:
            if not in_batch:
                raise
            raise error.within(f"requests[{len(plans)}]") from None
    return plans


def make_plan(request: Query, model: Model) -> Plan:
    """What the request allows and excludes, in item indices.

    Raises:
        InvalidField: an attribute is unknown or of a kind that a filter doesn't fit.
    """
    degraded: list[str] = []
    if request.fields:
        check_fields(request.fields, model)
    allowed = model.filters.matching(request.filters) if request.filters else None
    if request.candidates is not None:
        candidates, n_unknown = model.ids.indices(request.candidates)
        candidates = np.unique(candidates)
        if allowed is None:
            allowed = candidates
        else:
            allowed = np.intersect1d(allowed, candidates, assume_unique=True)
        if n_unknown:
            degraded.append(f"unknown_candidates:{n_unknown}")
    # An unknown item is never returned anyway, so an unknown exclusion lacks nothing.
    excluded = model.ids.indices(request.exclude)[0] if request.exclude else NO_ITEMS
    return Plan(request, allowed, excluded, degraded)


def check_fields(fields: Sequence[str], model: Model) -> None:
    """Raise InvalidField for the first field that is no attribute."""
    for place, name in enumerate(fields):
        if model.attributes.get(name) is None:
            known = model.attribute_kinds
            message = f"unknown attribute; {describe_names(known)}"
            raise InvalidField(f"fields[{place}]", name, message)


async def add_histories(plans: Sequence[Plan], model: Model, store: FeatureStore) -> None:
    """Give each plan its history: the one in the request, else the stored one."""
    stored: list[Plan] = []
    for plan in plans:
        if plan.request.history is not None:
            plan.history = History(*model.ids.indices(plan.request.history))
        elif plan.request.user_id is not None:
            stored.append(plan)
    if stored:
        user_ids = [plan.request.user_id or "" for plan in stored]
        deadlines = [
            None
            if plan.request.deadline_ms is None
            else Deadline.after_ms(plan.request.deadline_ms)
            for plan in stored
        ]
        histories = await store.read_histories(user_ids, model.version, model.ids, deadlines)
        for plan, history in zip(stored, histories, strict=True):
            plan.history = history
            if not history.is_complete:
                plan.degraded.append("features")
    for plan in plans:
        if plan.history.n_unknown:
            plan.degraded.append(f"unknown_items:{plan.history.n_unknown}")
        if plan.request.interests and not len(plan.history.items) and model.knowledge is None:
            plan.degraded.append("interests")


def is_heavy(plans: Sequence[Plan]) -> bool:
    """Whether the work is better done beside the event loop."""
    return len(plans) > MAX_ROWS_ON_LOOP or any(
        plan.request.explain
        or plan.request.interests is not None
        or (plan.request.diversity > 0 and plan.request.k > MAX_DIVERSE_ON_LOOP)
        for plan in plans
    )


def choose(plans: Sequence[Plan], model: Model) -> list[Choice]:
    """Infer, select and explain for all plans."""
    rows_at_once = max(1, MAX_SCORES // len(model.table))
    choices: list[Choice] = []
    for start in range(0, len(plans), rows_at_once):
        part = plans[start : start + rows_at_once]
        for plan, scores in zip(part, infer(part, model), strict=True):
            choices.append(select(plan, scores, model))
    return choices


def infer(plans: Sequence[Plan], model: Model) -> list[FloatArray]:
    """What each plan's items are ranked by; one inference for all plans of a stage.

    Returns:
        Scores of all items, [N+1]; where a retriever finds the best of them, the user's vector
        [D]; for `popular`, which is the same for all, nothing.
    """
    by_stage: dict[ServedBy, list[int]] = {}
    for place, plan in enumerate(plans):
        by_stage.setdefault(plan.served_by(model), []).append(place)
    inferred: list[FloatArray] = [NO_SCORES] * len(plans)
    for stage, places in by_stage.items():
        if stage == "model":
            histories = [plans[place].history.items for place in places]
            ask = model.sequence.user_vectors if model.retriever else model.sequence.scores
            rows = ask(histories)
        elif stage == "cold_start" and model.knowledge is not None:
            texts = [plans[place].request.interests or "" for place in places]
            rows = list(model.knowledge.similarities(texts))
        else:
            continue
        for place, row in zip(places, rows, strict=True):
            inferred[place] = row
    return inferred


def select(plan: Plan, inferred: FloatArray, model: Model) -> Choice:
    """The k best allowed items, diversified and explained if asked; changes `inferred`."""
    request, history = plan.request, plan.history.items
    excluded = plan.excluded
    if request.exclude_seen and len(history):
        excluded = np.concatenate([excluded, history]) if len(excluded) else history
    k = pool_size(request.k) if request.diversity > 0 else request.k
    items, scores = find_best(plan, inferred, k, excluded, model)
    if request.diversity > 0:
        chosen = diversify(scores, model.table[items], request.k, request.diversity)
        items, scores = items[chosen], scores[chosen]
    choice = Choice(plan.served_by(model), items, scores, None)
    if request.explain:
        choice.explanations = explain(choice, history, model)
    return choice


def find_best(
    plan: Plan, inferred: FloatArray, k: int, excluded: IndexArray, model: Model
) -> tuple[IndexArray, FloatArray]:
    """The k best of what the plan allows, best first, and their scores; changes `inferred`."""
    stage = plan.served_by(model)
    if stage == "popular":
        return model.popularity.best(k, excluded, plan.allowed)
    if stage == "model" and model.retriever:
        return model.retriever.best(inferred, k, excluded, plan.allowed)
    mask(inferred, excluded)
    items = top_k(inferred, k, plan.allowed)
    return items, inferred[items]


def explain(choice: Choice, history: IndexArray, model: Model) -> list[dict[str, Any]]:
    """Why each item is in the answer, in the terms of the stage that chose it."""
    if choice.served_by == "model":
        return explain_by_history(model, history, choice.items, choice.scores)
    if choice.served_by == "cold_start":
        return explain_by_similarity(choice.scores)
    return explain_by_popularity(model, choice.scores)


def respond(plan: Plan, choice: Choice, model: Model, timings: dict[str, float]) -> dict[str, Any]:
    """The answer as the contract has it."""
    ids, fields = model.ids.ids, plan.request.fields
    items: list[dict[str, Any]] = [
        {"item_id": ids[index - 1], "rank": rank, "score": score, "explanation": None}
        for rank, (index, score) in enumerate(
            zip(choice.items.tolist(), choice.scores.tolist(), strict=True), start=1
        )
    ]
    if choice.explanations is not None:
        for item, explanation in zip(items, choice.explanations, strict=True):
            item["explanation"] = explanation
    if fields:
        for item, index in zip(items, choice.items.tolist(), strict=True):
            item["fields"] = model.attributes.row(index, fields)
    return {
        "request_id": None,
        "user_id": plan.request.user_id,
        "model_version": model.version,
        "served_by": choice.served_by,
        "rerank": "skipped",
        "degraded": plan.degraded,
        "items": items,
        "timings_ms": timings,
    }
