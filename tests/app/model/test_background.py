from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from app.model import background
from app.model.background import (
    LONGEST_PAUSE_S,
    LONGEST_SPREAD_PAUSE_S,
    LOWEST_PRIORITY,
    SHARE,
    SPREAD_S,
    SPREADING,
    BackgroundThread,
    yield_cpu,
)

pytestmark = pytest.mark.alone


LOWER_PRIORITY = background._lower_priority


@pytest.fixture(autouse=True)
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests of the service do without."""
    monkeypatch.setattr(background, "SHARE", SHARE)
    monkeypatch.setattr(background, "_lower_priority", LOWER_PRIORITY)


@pytest.fixture
def thread() -> Iterator[BackgroundThread]:
    thread = BackgroundThread("tested", yields=True)
    yield thread
    thread.stop(5)


def work_for(seconds: float) -> None:
    """By the thread's own clock: where others want the core too, it is not working all the time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that `yield_cpu` takes, in seconds: a busy core makes them longer afterwards."""
    taken: list[float] = []

    def sleep(seconds: float) -> None:
        taken.append(seconds)
        time.sleep(seconds)

    clock = SimpleNamespace(
        thread_time=time.thread_time,
        process_time=time.process_time,
        monotonic=time.monotonic,
        sleep=sleep,
    )
    monkeypatch.setattr(background, "time", clock)
    return taken


def timed_pause_s() -> float:
    work_for(0.01)
    started = time.perf_counter()
    yield_cpu()
    return time.perf_counter() - started


def test_background_work_pauses_for_longer_than_it_takes(
    thread: BackgroundThread, pauses: list[float]
) -> None:
    assert asyncio.run(thread.run(timed_pause_s)) > 0.02
    [pause_s] = pauses
    assert 0.02 < pause_s <= LONGEST_PAUSE_S


class Clock:
    """Of a process whose thread works for 10 ms between two looks, others for `others_s`.

    Attributes:
        pauses: in seconds, in order.
    """

    def __init__(self, others_s: float = 0.0) -> None:
        self._others_s = others_s
        self._n_looks = 0
        self._slept_s = 0.0
        self.pauses: list[float] = []

    def process_time(self) -> float:
        self._n_looks += 1
        return self._n_looks * (0.01 + self._others_s)

    def thread_time(self) -> float:
        return self._n_looks * 0.01

    def monotonic(self) -> float:
        return self._n_looks * 0.02 + self._slept_s

    def sleep(self, seconds: float) -> None:
        self._slept_s += seconds
        self.pauses.append(seconds)


def pauses_of(clock: Clock, share: float, n_steps: int, *, is_spread: bool) -> list[float]:
    def work() -> None:
        for _ in range(n_steps):
            yield_cpu()

    thread = BackgroundThread("tested", yields=True, share=share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background, "time", clock)
        try:
            asyncio.run(thread.run(work, is_spread=is_spread))
        finally:
            thread.stop(5)
    return clock.pauses


@pytest.mark.parametrize(("share", "pause_s"), [(0.5, 0.01), (SHARE, 0.03)])
@pytest.mark.parametrize(("is_spread", "others_s"), [(False, 0.0), (False, 0.02), (True, 0.0)])
def test_a_smaller_share_of_its_time_means_longer_pauses(
    share: float, pause_s: float, is_spread: bool, others_s: float
) -> None:
    assert pauses_of(Clock(others_s), share, 1, is_spread=is_spread) == [pytest.approx(pause_s)]


def test_spread_work_takes_less_while_others_need_the_cpu() -> None:
    [pause_s] = pauses_of(Clock(others_s=0.003), 0.5, 1, is_spread=True)
    assert pause_s == pytest.approx(0.01 * (1 / (0.5 * SPREADING) - 1))
    assert pauses_of(Clock(others_s=0.0019), 0.5, 1, is_spread=True) == [pytest.approx(0.01)]
    [pause_s] = pauses_of(Clock(others_s=0.02), 0.01, 1, is_spread=True)
    assert pause_s == LONGEST_SPREAD_PAUSE_S


def test_work_is_spread_for_some_seconds_only() -> None:
    pauses = pauses_of(Clock(others_s=1.0), 0.01, 100, is_spread=True)
    spread = [pause_s for pause_s in pauses if pause_s == LONGEST_SPREAD_PAUSE_S]
    assert pauses == [*spread, *[LONGEST_PAUSE_S] * (100 - len(spread))]
    assert SPREAD_S - 0.2 < len(spread) * (LONGEST_SPREAD_PAUSE_S + 0.02) < SPREAD_S + 0.2


def test_other_work_does_not_pause(pauses: list[float]) -> None:
    work_for(0.01)
    yield_cpu()
    assert pauses == []


@pytest.mark.skipif(sys.platform != "linux", reason="priorities are per thread on Linux only")
def test_it_has_the_lowest_priority_and_nobody_else(thread: BackgroundThread) -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = priority()
    assert asyncio.run(thread.run(priority)) == LOWEST_PRIORITY
    assert priority() == before


def test_a_cancelled_caller_does_not_wait_for_the_work(thread: BackgroundThread) -> None:
    async def call_off() -> float:
        task = asyncio.create_task(thread.run(lambda: time.sleep(0.5)))
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.perf_counter() - started

    assert asyncio.run(call_off()) < 0.2


def test_an_exception_of_the_work_reaches_the_caller(thread: BackgroundThread) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(thread.run(fail))


def test_all_work_is_done_by_one_thread(thread: BackgroundThread) -> None:
    async def ask() -> set[int]:
        return {await thread.run(threading.get_ident) for _ in range(3)}

    assert len(asyncio.run(ask()) | asyncio.run(ask())) == 1


def test_work_that_nobody_waits_for_stops_at_its_next_pause(thread: BackgroundThread) -> None:
    steps: list[int] = []

    def work() -> None:
        while True:
            steps.append(1)
            time.sleep(0.001)
            yield_cpu()

    async def call_off() -> None:
        task = asyncio.create_task(thread.run(work))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await thread.run(lambda: "the next") == "the next"

    asyncio.run(call_off())
    done = len(steps)
    time.sleep(0.05)
    assert len(steps) == done > 0
