"""Lets a shadow answer a share of the requests after their answers, for comparison only.

A request gives what it was asked to a short queue, and that is all it has to do with it. The shadow
answers when no request is under way, in a thread of the lowest priority; whatever it can't do in
time is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.comparison.background_answers import BackgroundAnswers
from app.deployment.routing import ShadowModel
from app.model.model import Model
from app.recommend.query import Query
from app.store.answer_pairs import AnswerPairStore
from model_store.answer_pairs import MAX_ITEMS, AnswerPair
from model_store.errors import InvalidField, StoreError

log = logging.getLogger(__name__)

MAX_WAITING = 16
MAX_AGE_S = 1.0
"""Afterwards the user's history may be another one than that of the answer."""
PAUSE_S = 0.005
RERANKED = frozenset({"fresh", "cached"})


@dataclass(frozen=True)
class _Answered:
    """A request, the model that answered it, and the answer."""

    query: Query
    model: Model
    answer: dict[str, Any]
    shadow: Model
    at_s: float


class ShadowQueue:
    """Requests that wait for the shadow's answer; used from one event loop.

    Args:
        answers: gives the shadow's.
        pairs: keeps what both answered.
        count_under_way: returns the number of requests without an answer.
        current: returns the shadow that is to answer at present.
        count: called with what became of each request that the shadow's share holds: `answered`,
            `busy` (others are under way), `full` (too many wait) or `failed`.
    """

    def __init__(
        self,
        answers: BackgroundAnswers,
        pairs: AnswerPairStore,
        count_under_way: Callable[[], int],
        current: Callable[[], ShadowModel | None],
        count: Callable[[str], None],
    ) -> None:
        self._answers = answers
        self._pairs = pairs
        self._count_under_way = count_under_way
        self._current = current
        self._count = count
        self._waiting: deque[_Answered] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_logged = False

    def offer(
        self, shadow: ShadowModel, query: Query, model: Model, answer: dict[str, Any]
    ) -> None:
        """Have a request answered by the shadow too, if it is of its share and nothing is busy.

        Args:
            shadow: of the request's routing.
            query, answer: what was asked, and the complete answer with its request_id.
            model: that answered.
        """
        if not shadow.takes(answer["request_id"]):
            return
        if self._count_under_way() > 1:  # one is the request itself
            self._count("busy")
        elif len(self._waiting) >= MAX_WAITING:
            self._count("full")
        else:
            at_s = time.monotonic()
            self._waiting.append(_Answered(query, model, answer, shadow.model, at_s))
            self._arrived.set()

    def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """End, with whatever waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                while self._count_under_way() and self._is_fresh():
                    await asyncio.sleep(PAUSE_S)
                # Held by no variable here: a model that was let go would live as long as this task.
                await self._answer(self._waiting.popleft())

    def _is_fresh(self) -> bool:
        return time.monotonic() < self._waiting[0].at_s + MAX_AGE_S

    async def _answer(self, one: _Answered) -> None:
        shadow = self._current()
        if shadow is None or shadow.model.version != one.shadow.version:
            return  # it has ended meanwhile
        if time.monotonic() >= one.at_s + MAX_AGE_S:
            self._count("busy")
            return
        try:
            await self._compare(one)
        except (StoreError, InvalidField):
            self._count("failed")
        except Exception:
            self._count("failed")
            if not self._is_logged:
                self._is_logged = True
                log.exception("the shadow %s failed", one.shadow.version)
        else:
            self._count("answered")

    async def _compare(self, one: _Answered) -> None:
        answer = one.answer
        if "features" in answer["degraded"]:
            # The shadow may be able to read now what was missing then: no fault of its own.
            raise StoreError("the answer was made without the history")
        [found] = await self._answers.of([one.query], one.shadow)
        items = tuple(item["item_id"] for item in answer["items"][:MAX_ITEMS])
        if answer["rerank"] in RERANKED:
            # No shadow is reranked: the base rankings are compared.
            [base] = await self._answers.of([one.query], one.model)
            items = base.items[:MAX_ITEMS]
        pair = AnswerPair(
            user_id=one.query.user_id,
            n_interactions=found.n_interactions,
            a=items,
            b=found.items[:MAX_ITEMS],
            a_ms=answer["timings_ms"]["inference"],
            b_ms=round(found.ms, 3),
        )
        await self._pairs.keep(one.model.version, one.shadow.version, pair)
