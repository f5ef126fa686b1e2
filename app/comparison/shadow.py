"""Lets a shadow answer a share of the requests after their answers, for comparison only.

A request gives what it was asked to a short queue, and that is all it has to do with it. The shadow
answers when no request is under way, in a thread of the lowest priority, and rests after that for
up to a second, so that it computes for about a hundredth of the time; whatever it can't do in time
is dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.comparison.background_answers import BackgroundAnswer, BackgroundAnswers
from app.deployment.routing import ShadowModel
from app.model.model import Model
from app.recommend.query import Query
from app.store.answer_pairs import AnswerPairStore
from model_store.answer_pairs import MAX_ITEMS, AnswerPair
from model_store.errors import InvalidField, StoreError

log = logging.getLogger(__name__)

MAX_WAITING = 32
MAX_AGE_S = 1.0
"""Afterwards the user's history may be another one than that of the answer."""
PAUSE_S = 0.005
AT_ONCE = 8
"""Answered together, which takes less of the event loop's time than one after the other."""
GATHER_S = 0.1
"""Wait for so many."""
SHARE_OF_TIME = 0.01
"""In which the shadow works, if `LONGEST_REST_S` allows: an answer costs what a request does."""
LONGEST_REST_S = 1.0
"""Those that wait would be too old then. Answers of over 10 ms together take a larger share."""
SETTLE_AGAIN_S = 1.0
STOP_SETTLING_S = 1.0
RERANKED = frozenset({"fresh", "cached"})


@dataclass(frozen=True)
class _Answered:
    """A request, the model that answered it, and the answer."""

    query: Query
    model: Model
    answer: dict[str, Any]
    shadow: Model
    at_s: float


@dataclass(frozen=True)
class _Kept:
    """A pair that the store may have, of versions a and b; without their models."""

    a: str
    b: str
    pair: AnswerPair


class ShadowQueue:
    """Requests that wait for the shadow's answer; used from one event loop.

    Args:
        answers: gives the shadow's.
        pairs: keeps what both answered.
        count_under_way: returns the number of requests without an answer.
        is_shadow: returns whether a version is to answer unseen at present.
        count: called with what became of each request that the shadow's share holds: `answered`,
            `busy` (others are under way), `full` (too many wait), `incomplete` (answered without
            the stored history) or `failed`.
        look: has this queue drop who was forgotten; after pairs were kept.
    """

    def __init__(
        self,
        answers: BackgroundAnswers,
        pairs: AnswerPairStore,
        count_under_way: Callable[[], int],
        is_shadow: Callable[[str], bool],
        count: Callable[[str], None],
        look: Callable[[], Awaitable[object]],
    ) -> None:
        self._answers = answers
        self._pairs = pairs
        self._count_under_way = count_under_way
        self._is_shadow = is_shadow
        self._count = count
        self._look = look
        self._waiting: deque[_Answered] = deque()
        self._under_way: list[_Answered] = []
        # Pairs kept since the last look that succeeded, and those to remove: who was forgotten
        # while they were kept is found out by the next look.
        self._unseen: list[_Kept] = []
        self._gone: list[_Kept] = []
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._logged: str | None = None
        self._spent_s = 0.0  # CPU time of inference since the last rest

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
        elif "features" in answer["degraded"]:
            # The shadow may be able to read now what was missing then: no fault of its own.
            self._count("incomplete")
        elif len(self._waiting) >= MAX_WAITING:
            self._count("full")
        else:
            at_s = time.monotonic()
            self._waiting.append(_Answered(query, model, answer, shadow.model, at_s))
            self._arrived.set()

    @property
    def user_ids(self) -> set[str]:
        """Users of the requests that wait or are being answered, or whose pairs are new."""
        held = [one.query.user_id for one in (*self._waiting, *self._under_way)]
        held += [one.pair.user_id for one in self._unseen]
        return {user_id for user_id in held if user_id is not None}

    def drop(self, user_ids: Collection[str]) -> None:
        """Forget the requests of users, and have new pairs of theirs removed."""
        self._waiting = deque(one for one in self._waiting if one.query.user_id not in user_ids)
        self._under_way = [one for one in self._under_way if one.query.user_id not in user_ids]
        self._gone += [one for one in self._unseen if one.pair.user_id in user_ids]
        self._unseen = [one for one in self._unseen if one.pair.user_id not in user_ids]

    def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """End, with whatever waits."""
        # Not kept: its exception refers to all that it was at work on, such as models.
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(STOP_SETTLING_S):
                await self._settle()

    async def _work(self) -> None:
        while True:
            await self._wait()
            self._arrived.clear()
            while self._waiting:
                if len(self._waiting) < AT_ONCE:
                    await asyncio.sleep(GATHER_S)
                while self._count_under_way() and self._is_fresh():
                    await asyncio.sleep(PAUSE_S)
                if self._waiting:
                    self._under_way = self._take()
                    try:
                        await self._answer(self._under_way[0].shadow)
                    finally:
                        # A model that was let go would live as long as this queue.
                        self._under_way = []
                    await self._rest()

    async def _wait(self) -> None:
        """Until a request arrives; meanwhile, remove what could not be removed."""
        while self._unseen or self._gone:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), SETTLE_AGAIN_S)
                return
            with contextlib.suppress(Exception):  # the next round fails, too, and that is logged
                await self._settle()
        await self._arrived.wait()

    async def _rest(self) -> None:
        rest_s, self._spent_s = self._spent_s * (1 / SHARE_OF_TIME - 1), 0.0
        await asyncio.sleep(min(rest_s, LONGEST_REST_S))

    def _is_fresh(self) -> bool:
        """Whether the first that waits is; not where none does, as its user was forgotten."""
        return bool(self._waiting) and time.monotonic() < self._waiting[0].at_s + MAX_AGE_S

    def _take(self) -> list[_Answered]:
        """The next ones of one shadow, at least one; each name of a model may have its own."""
        taken = [self._waiting.popleft()]
        while self._waiting and len(taken) < AT_ONCE:
            if self._waiting[0].shadow is not taken[0].shadow:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _answer(self, shadow: Model) -> None:
        """Answer what is under way, all of one shadow."""
        if not self._is_shadow(shadow.version):
            return  # it has ended meanwhile
        due, since_s = self._under_way, time.monotonic() - MAX_AGE_S
        self._under_way = fresh = [one for one in due if one.at_s > since_s]
        n_answered = 0
        try:
            n_answered = await self._compare(fresh, shadow)
        except StoreError:
            pass
        except Exception:
            if self._logged != shadow.version:
                self._logged = shadow.version
                log.exception("the shadow %s failed", shadow.version)
        outcomes = {
            "busy": len(due) - len(fresh),
            "answered": n_answered,
            "failed": len(fresh) - n_answered,
        }
        for outcome, n in outcomes.items():
            for _ in range(n):
                self._count(outcome)

    async def _compare(self, fresh: Sequence[_Answered], shadow: Model) -> int:
        """Keep what both versions answer; returns to how many requests both have an answer."""
        if not fresh:
            return 0
        await self._settle()  # what a round before left; so there is no more than that
        pairs: list[tuple[_Answered, AnswerPair]] = []
        answers = await self._answers_of([one.query for one in fresh], shadow)
        for one, found in zip(fresh, answers, strict=True):
            items = await self._base_items(one)
            if items is not None and isinstance(found, BackgroundAnswer):
                pairs.append((one, _pair(one, items, found)))
        kept = [(one, pair) for one, pair in pairs if self._is_under_way(one)]
        # Before it is tried: a call that failed may have had its effect.
        self._unseen += [_Kept(one.model.version, shadow.version, pair) for one, pair in kept]
        for (a, b), of_versions in _by_versions(self._unseen):
            await self._pairs.keep(a, b, of_versions)
        await self._settle()
        return sum(self._is_under_way(one) for one, _ in kept)

    async def _settle(self) -> None:
        """Remove the new pairs of those who were forgotten since they were answered.

        Raises:
            StoreError: the store is away; what is left is done the next time.
        """
        if self._unseen:
            await self._look()
            # Who is forgotten from now on is taken out by whoever forgets.
            self._unseen = []
        for (a, b), of_versions in _by_versions(self._gone):
            await self._pairs.remove(a, b, of_versions)
            self._gone = [one for one in self._gone if (one.a, one.b) != (a, b)]

    def _is_under_way(self, one: _Answered) -> bool:
        """Whether it still is; not where its user was forgotten."""
        return any(other is one for other in self._under_way)

    async def _answers_of(
        self, queries: Sequence[Query], model: Model
    ) -> list[BackgroundAnswer | InvalidField | StoreError]:
        answers = await self._answers.of_each(queries, model)
        self._spent_s += sum(one.ms for one in answers if isinstance(one, BackgroundAnswer)) / 1e3
        return answers

    async def _base_items(self, one: _Answered) -> tuple[str, ...] | None:
        """What the request was answered before any reranking; None where that can't be had."""
        if one.answer["rerank"] not in RERANKED:
            return tuple(item["item_id"] for item in one.answer["items"][:MAX_ITEMS])
        [base] = await self._answers_of([one.query], one.model)
        return base.items[:MAX_ITEMS] if isinstance(base, BackgroundAnswer) else None


def _by_versions(kept: Sequence[_Kept]) -> Iterable[tuple[tuple[str, str], list[AnswerPair]]]:
    """Pairs by the two versions that answered."""
    found: dict[tuple[str, str], list[AnswerPair]] = {}
    for one in kept:
        found.setdefault((one.a, one.b), []).append(one.pair)
    return found.items()


def _pair(one: _Answered, items: tuple[str, ...], found: BackgroundAnswer) -> AnswerPair:
    return AnswerPair(
        user_id=one.query.user_id,
        n_interactions=found.n_interactions,
        a=items,
        b=found.items[:MAX_ITEMS],
        a_ms=one.answer["timings_ms"]["inference"],
        b_ms=round(found.ms, 3),
    )
