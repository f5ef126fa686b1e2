"""The recommend path: plan → features → score → rerank → choose → explain → respond.

One request is a batch of one. A request is checked before anything is looked up; all users of a
batch are read in one round trip and scored in one padded inference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic, perf_counter
from typing import Any, Protocol, TypeVar

from app.model.model import Model
from app.recommend.explanation import explain
from app.recommend.exploration import Draws
from app.recommend.features import add_features
from app.recommend.plan import Plan, make_plans, try_plans
from app.recommend.query import Query
from app.recommend.reranking import needs_reranking, rerank
from app.recommend.response import respond
from app.recommend.scoring import Ranking, score
from app.recommend.selection import choose
from app.recommend.served import keep_served, plans_that_ask
from app.recommend.weight import (
    MAX_ROWS_ON_LOOP,
    are_heavy,
    are_large,
    are_long,
    are_many,
    divide,
)
from app.reranking.cached_reranker import CachedReranker
from app.store.feature_store import FeatureStore
from model_store.errors import InvalidField

Given = TypeVar("Given")
Result = TypeVar("Result")
Step = Callable[[Sequence[Given], Model], Sequence[Result]]


class Runner(Protocol):
    """Decides how a step is run, whatever it computes. Heavy steps leave the event loop."""

    async def run(
        self, step: Step[Given, Result], given: Sequence[Given], model: Model, *, heavy: bool
    ) -> Sequence[Result]:
        """Run a step for this request."""

    async def run_together(
        self, step: Step[Given, Result], given: Sequence[Given], model: Model, *, heavy: bool
    ) -> Sequence[Result]:
        """Run a step for this request and for others that need it at the same moment."""


async def recommend(
    queries: Sequence[Query],
    model: Model,
    store: FeatureStore,
    runner: Runner,
    reranker: CachedReranker,
    draws: Draws | None = None,
) -> Sequence[dict[str, Any]]:
    """Answers in the order of the queries, as JSON-ready objects without their request_id.

    Args:
        queries: of one request.
        model: the model for all of them.
        store: the histories.
        runner: runs the steps.
        reranker: ranks the first items again, where a request wants that.
        draws: how the answers are drawn at random, of one query; None: they are the best items.

    Raises:
        InvalidField: a query names an attribute that the catalogue doesn't have.
    """
    started = perf_counter()
    make = partial(make_plans, arrived_at_s=monotonic())
    plans = await runner.run(make, queries, model, heavy=are_long(queries, model))
    if draws is not None:
        plans[0].draws = draws
    return await _answer(plans, started, model, store, runner, reranker)


async def recommend_each(
    queries: Sequence[Query],
    model: Model,
    store: FeatureStore,
    runner: Runner,
    reranker: CachedReranker,
) -> Sequence[dict[str, Any] | InvalidField]:
    """As `recommend`, but a query that is wrong has its error in the place of an answer."""
    started = perf_counter()
    make = partial(try_plans, arrived_at_s=monotonic())
    made = await runner.run(make, queries, model, heavy=are_long(queries, model))
    if len(made) > MAX_ROWS_ON_LOOP:
        await asyncio.sleep(0)  # others' turn: to ask the store for hundreds takes as long again
    plans = [one for one in made if isinstance(one, Plan)]
    answers = iter(await _answer(plans, started, model, store, runner, reranker) if plans else ())
    return [next(answers) if isinstance(one, Plan) else one for one in made]


async def _answer(
    plans: Sequence[Plan],
    started: float,
    model: Model,
    store: FeatureStore,
    runner: Runner,
    reranker: CachedReranker,
) -> Sequence[dict[str, Any]]:
    asking = plans_that_ask(plans)
    await add_features(plans, model, store, asking)
    featured = perf_counter()
    rankings: list[Ranking] = []
    for part in divide(plans, model):
        rankings += await runner.run_together(score, part, model, heavy=are_heavy(part, model))
    rerank_ms = 0.0
    if needs_reranking(rankings):
        scored = perf_counter()
        await rerank(rankings, model, reranker)
        rerank_ms = (perf_counter() - scored) * 1e3
    heavy = are_heavy(plans, model)
    chosen = await runner.run(choose, rankings, model, heavy=heavy)
    choices = await runner.run(explain, chosen, model, heavy=heavy)
    inferred = perf_counter()
    timings_ms = {
        "features": round((featured - started) * 1e3, 3),
        "inference": round((inferred - featured) * 1e3 - rerank_ms, 3),
        "rerank": round(rerank_ms, 3),
        "total": 0.0,
    }
    write = partial(respond, timings_ms=timings_ms)
    many = are_many(choices)
    if many:
        await asyncio.sleep(0)  # others' turn: to write them takes longer than all of the above
    answers = await runner.run(write, choices, model, heavy=are_large(choices))
    if many:
        await asyncio.sleep(0)  # and to encode them half as long again
    if asking and store.served is not None:
        await keep_served(plans, answers, store.served)
    timings_ms["total"] = round((perf_counter() - started) * 1e3, 3)
    return answers
