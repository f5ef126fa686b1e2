"""Answers that nobody waits for: the steps of a request, in a thread of the lowest priority.

Nothing is written and no reranker is asked: these are the base rankings of the versions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.model.background import BackgroundThread, yield_cpu
from app.model.model import Model
from app.recommend.features import add_features
from app.recommend.plan import Plan, make_plans
from app.recommend.query import Query
from app.recommend.scoring import score
from app.recommend.selection import choose
from app.recommend.weight import are_long
from app.store.feature_store import FeatureStore
from model_store.errors import StoreError


@dataclass(frozen=True)
class BackgroundAnswer:
    """The items of an answer, best first; the length of the history; CPU time of its inference."""

    items: tuple[str, ...]
    n_interactions: int
    ms: float


class BackgroundAnswers:
    """Answers requests in the background.

    Args:
        features: histories, read over a connection that no request waits for.
        thread: does the computing.
    """

    def __init__(self, features: FeatureStore, thread: BackgroundThread) -> None:
        self._features = features
        self._thread = thread

    async def of(self, queries: Sequence[Query], model: Model) -> list[BackgroundAnswer]:
        """The answers of one version, in the order of the queries.

        Each is computed alone: in a batch, last bits of scores differ.

        Raises:
            InvalidField: a query names an attribute that the version's items don't have.
            StoreError: the histories can't be read in full.
        """
        if are_long(queries, model):
            plans = await self._thread.run(lambda: _make_plans(queries, model))
        else:
            plans = _make_plans(queries, model)
        await add_features(plans, model, self._features)
        if not all(plan.history.is_complete for plan in plans):
            raise StoreError(f"histories of version {model.version} can't be read in full")
        return await self._thread.run(lambda: [_answer(plan, model) for plan in plans])


def _make_plans(queries: Sequence[Query], model: Model) -> list[Plan]:
    plans = make_plans(queries, model, time.monotonic())
    for plan in plans:
        plan.deadline = None  # of the answer that was given long ago
    return plans


def _answer(plan: Plan, model: Model) -> BackgroundAnswer:
    begun_s = time.thread_time()
    [choice] = choose(score([plan], model), model)
    spent_s = time.thread_time() - begun_s
    ids = model.ids.ids
    items = tuple(ids[index - 1] for index in choice.items.tolist())
    yield_cpu()
    return BackgroundAnswer(items, len(plan.history.items), spent_s * 1e3)
