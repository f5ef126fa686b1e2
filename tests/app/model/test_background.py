from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

import pytest

from app.model import background
from app.model.background import (
    LONGEST_PAUSE_S,
    LOWEST_PRIORITY,
    SHARE,
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

    clock = SimpleNamespace(thread_time=time.thread_time, sleep=sleep)
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


@pytest.mark.parametrize(("share", "pause_s"), [(0.5, 0.01), (SHARE, 0.03)])
def test_a_smaller_share_of_its_time_means_longer_pauses(
    share: float, pause_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each pause, by a clock by which it has worked for 10 ms whenever it looks."""
    pauses: list[float] = []
    clock = SimpleNamespace(thread_time=count(step=0.01).__next__, sleep=pauses.append)
    monkeypatch.setattr(background, "time", clock)
    thread = BackgroundThread("tested", yields=True, share=share)
    try:
        asyncio.run(thread.run(yield_cpu))
    finally:
        thread.stop(5)
    assert pauses == [pytest.approx(pause_s)]


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
