"""The queue of requests that a shadow is to answer: what waits, what is dropped, what is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.comparison import shadow as shadow_module
from app.comparison.background_answers import BackgroundAnswer
from app.comparison.shadow import AT_ONCE, MAX_WAITING, ShadowQueue
from app.deployment.routing import ShadowModel
from app.http.requests import RecommendRequest
from app.recommend.query import Query
from model_store.answer_pairs import AnswerPair
from model_store.errors import StoreAway
from tests.app.conftest import PATIENCE_S, service_of


def best_of(http: TestClient) -> str:
    answer = http.post("/recommend", json={"history": ["i1"]})
    return str(answer.json()["items"][0]["item_id"])


class Kept:
    """A store that keeps pairs, or fails."""

    def __init__(self) -> None:
        self.pairs: list[AnswerPair] = []
        self.error: Exception | None = None

    async def keep(self, _a: str, _b: str, pairs: Sequence[AnswerPair]) -> None:
        if self.error is not None:
            raise self.error
        self.pairs += pairs

    async def remove(self, _a: str, _b: str, pairs: Sequence[AnswerPair]) -> None:
        for pair in pairs:
            self.pairs.remove(pair)


class Busy:
    """A queue whose service has so many requests under way, with what became of its requests."""

    def __init__(self, http: TestClient) -> None:
        self.under_way = 1
        self.kept = Kept()
        self.counted: list[str] = []
        self.forgotten: set[str] = set()
        self.look_error: Exception | None = None
        service = service_of(http)
        self.model = service.models.current
        self.shadow: ShadowModel | None = ShadowModel(replace(self.model, version="made-2"), 100)
        self.queue = ShadowQueue(
            service.shadow._answers,
            self.kept,  # type: ignore[arg-type]
            lambda: self.under_way,
            lambda version: self.shadow is not None and version == self.shadow.model.version,
            self.counted.append,
            self.look,
        )

    async def look(self) -> None:
        if self.look_error is not None:
            raise self.look_error
        self.queue.drop(self.forgotten)

    def offer(self, *degraded: str, **changes: object) -> None:
        answer = {
            "request_id": "r", "items": [{"item_id": "i1"}], "rerank": "skipped",
            "timings_ms": {"inference": 1.0}, "degraded": [*degraded],
        }  # fmt: skip
        query = RecommendRequest(history=["i1"], **changes)  # type: ignore[arg-type]
        assert self.shadow is not None
        self.queue.offer(self.shadow, query, self.model, answer)

    def work(self, until: int, under_way: int = 0) -> list[str]:
        async def go() -> None:
            self.queue.start()
            async with asyncio.timeout(PATIENCE_S):
                while len(self.counted) < until:
                    await asyncio.sleep(0.001)
            await self.queue.stop()

        self.under_way = under_way
        asyncio.run(go())
        return self.counted


def test_what_comes_while_others_are_under_way_is_dropped(http: TestClient) -> None:
    busy = Busy(http)
    busy.under_way = 2
    busy.offer()
    assert busy.counted == ["busy"]


def test_no_more_than_a_few_wait(http: TestClient) -> None:
    busy = Busy(http)
    for _ in range(MAX_WAITING + 2):
        busy.offer()
    assert busy.counted == ["full"] * 2
    assert busy.work(MAX_WAITING + 2)[2:] == ["answered"] * MAX_WAITING
    assert len(busy.kept.pairs) == MAX_WAITING


def test_of_those_answered_together_each_fails_alone(http: TestClient) -> None:
    best = best_of(http)
    busy = Busy(http)
    busy.offer()
    busy.offer(filters={"colour": {"any": ["red"]}})
    busy.offer(exclude=[best])
    assert sorted(busy.work(3)) == ["answered", "answered", "failed"]
    assert [best in pair.b for pair in busy.kept.pairs] == [True, False]


class Costly:
    """Answers at once that are said to have taken so long."""

    def __init__(self, ms: float) -> None:
        self._ms = ms
        self.asked_s: list[float] = []

    async def of_each(self, queries: Sequence[Query], _: object) -> list[BackgroundAnswer]:
        self.asked_s.append(time.monotonic())
        return [BackgroundAnswer(("i1",), 1, self._ms) for _ in queries]


@pytest.mark.parametrize(
    ("ms", "share", "rest_s"), [(2.0, 0.1, 0.144), (1_000.0, 0.01, 0.2)], ids=["rests", "longest"]
)
def test_a_shadow_rests_in_proportion_to_what_it_computed(
    http: TestClient, monkeypatch: pytest.MonkeyPatch, ms: float, share: float, rest_s: float
) -> None:
    monkeypatch.setattr(shadow_module, "SHARE_OF_TIME", share)
    monkeypatch.setattr(shadow_module, "LONGEST_REST_S", 0.2)
    busy, costly = Busy(http), Costly(ms)
    monkeypatch.setattr(busy.queue, "_answers", costly)
    for _ in range(2 * AT_ONCE):
        busy.offer()
    assert busy.work(2 * AT_ONCE) == ["answered"] * 2 * AT_ONCE
    first_s, second_s = costly.asked_s
    assert second_s - first_s >= 0.99 * rest_s  # clocks of a loop count whole milliseconds


def test_what_has_waited_for_long_is_dropped(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_module, "MAX_AGE_S", 0.05)
    busy = Busy(http)
    busy.offer()
    assert busy.work(1, under_way=1) == ["busy"]
    assert busy.kept.pairs == []


def test_a_shadow_that_fails_is_counted_and_goes_on(
    http: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    def logged() -> list[str]:
        return [one.message for one in caplog.records if one.name == shadow_module.__name__]

    busy = Busy(http)
    busy.kept.error = StoreAway("the store is away")
    busy.offer()
    busy.offer(filters={"colour": {"any": ["red"]}})
    assert busy.work(2) == ["failed"] * 2
    assert logged() == []
    busy.kept.error = ValueError("nobody thought of this")
    busy.offer()
    busy.offer()
    assert busy.work(4) == ["failed"] * 4
    assert logged() == ["the shadow made-2 failed"]
    of_made_2 = busy.shadow
    busy.shadow = replace(of_made_2, model=replace(busy.model, version="made-3"))  # type: ignore[type-var]
    busy.offer()
    assert busy.work(5)[-1] == "failed"
    assert logged()[1:] == ["the shadow made-3 failed"]
    busy.kept.error, busy.shadow = None, of_made_2
    busy.offer()
    assert busy.work(6)[-1] == "answered"


def test_an_answer_without_the_history_is_not_compared(http: TestClient) -> None:
    busy = Busy(http)
    busy.offer("unknown_items:1")
    busy.offer("features")
    assert busy.work(2) == ["incomplete", "answered"]
    assert len(busy.kept.pairs) == 1


def test_nothing_is_kept_of_who_is_forgotten_meanwhile(http: TestClient) -> None:
    busy = Busy(http)
    for user in ("u1", "u2", "u3"):
        busy.offer(user_id=user)
    busy.queue.drop({"u1"})
    assert busy.queue.user_ids == {"u2", "u3"}
    busy.forgotten = {"u2"}  # while it is answered
    assert sorted(busy.work(2)) == ["answered", "failed"]
    assert [pair.user_id for pair in busy.kept.pairs] == ["u3"]
    assert busy.queue.user_ids == set()


def test_who_is_forgotten_is_found_by_a_later_look_where_one_failed(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_module, "SETTLE_AGAIN_S", 0.01)
    busy = Busy(http)
    for user in ("u1", "u2"):
        busy.offer(user_id=user)
    busy.look_error = StoreAway("the store is away")
    busy.forgotten = {"u1"}

    async def go() -> None:
        busy.under_way = 0
        busy.queue.start()
        async with asyncio.timeout(PATIENCE_S):
            while len(busy.counted) < 2:
                await asyncio.sleep(0.001)
            assert busy.queue.user_ids == {"u1", "u2"}
            busy.look_error = None
            while len(busy.kept.pairs) == 2:
                await asyncio.sleep(0.001)
        await busy.queue.stop()

    asyncio.run(go())
    assert busy.counted == ["failed"] * 2
    assert [pair.user_id for pair in busy.kept.pairs] == ["u2"]
    assert busy.queue.user_ids == set()


@pytest.mark.parametrize("fails", [False, True])
def test_a_queue_that_ends_looks_at_what_it_has_just_kept(
    http: TestClient, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    busy = Busy(http)
    busy.offer(user_id="u1")
    busy.forgotten = {"u1"}
    keep = busy.kept.keep

    async def keep_late(*given: Any) -> None:
        await keep(*given)
        if fails:  # its answer is lost
            raise StoreAway("the store is away")
        await asyncio.sleep(60)

    monkeypatch.setattr(busy.kept, "keep", keep_late)

    async def go() -> None:
        busy.under_way = 0
        busy.queue.start()
        async with asyncio.timeout(PATIENCE_S):
            while not busy.kept.pairs:
                await asyncio.sleep(0.001)
        await busy.queue.stop()

    asyncio.run(go())
    assert busy.kept.pairs == []


def test_a_queue_of_forgotten_people_alone_goes_on(http: TestClient) -> None:
    busy = Busy(http)
    busy.offer(user_id="u1")

    async def go() -> None:
        busy.under_way = 1
        busy.queue.start()
        await asyncio.sleep(0.2)  # it waits for the request under way
        busy.queue.drop({"u1"})
        busy.under_way = 0
        await asyncio.sleep(0.05)
        busy.offer(user_id="u2")
        async with asyncio.timeout(PATIENCE_S):
            while not busy.counted:
                await asyncio.sleep(0.001)
        await busy.queue.stop()

    asyncio.run(go())
    assert [pair.user_id for pair in busy.kept.pairs] == ["u2"]


def test_requests_of_a_shadow_that_has_ended_are_left(http: TestClient) -> None:
    busy = Busy(http)
    busy.offer()
    busy.shadow = replace(busy.shadow, model=replace(busy.model, version="made-3"))  # type: ignore[type-var]
    busy.offer()
    assert busy.work(1) == ["answered"]
    assert len(busy.kept.pairs) == 1
