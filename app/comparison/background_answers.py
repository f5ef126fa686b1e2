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
from app.recommend.plan import Plan, try_plans
from app.recommend.query import Query
from app.recommend.scoring import score
from app.recommend.selection import choose
from app.recommend.weight import are_long
from app.store.feature_store import FeatureStore
from model_store.errors import InvalidField, StoreError


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

        Raises:
            InvalidField: a query names an attribute that the version's items don't have.
            StoreError: the histories can't be read in full.
        """
        answers: list[BackgroundAnswer] = []
        for found in await self.of_each(queries, model):
            if not isinstance(found, BackgroundAnswer):
                raise found
            answers.append(found)
        return answers

    async def of_each(
        self, queries: Sequence[Query], model: Model
    ) -> list[BackgroundAnswer | InvalidField | StoreError]:
        """As `of`, but a query that can't be answered has its error in the place of an answer.

        Histories are read in one round trip, and one thread is woken once. Each answer is computed
        alone: in a batch, last bits of scores differ.
        """
        if are_long(queries, model):
            made = await self._thread.run(lambda: _make_plans(queries, model))
        else:
            made = _make_plans(queries, model)
        plans = [one for one in made if isinstance(one, Plan)]
        await add_features(plans, model, self._features)
        complete = [plan for plan in plans if plan.history.is_complete]
        computed = await self._thread.run(lambda: [_answer(plan, model) for plan in complete])
        left = iter(computed)
        unread = StoreError(f"histories of version {model.version} can't be read in full")
        return [
            one
            if isinstance(one, InvalidField)
            else next(left)
            if one.history.is_complete
            else unread
            for one in made
        ]


def _make_plans(queries: Sequence[Query], model: Model) -> list[Plan | InvalidField]:
    made = try_plans(queries, model, time.monotonic())
    for one in made:
        if isinstance(one, Plan):
            one.deadline = None  # of the answer that was given long ago
    return made


def _answer(plan: Plan, model: Model) -> BackgroundAnswer:
    begun_s = time.thread_time()
    ranking = score([plan], model)
    yield_cpu()  # sleeping takes no time of the thread
    [choice] = choose(ranking, model)
    spent_s = time.thread_time() - begun_s
    ids = model.ids.ids
    items = tuple(ids[index - 1] for index in choice.items.tolist())
    yield_cpu()
    return BackgroundAnswer(items, len(plan.history.items), spent_s * 1e3)
