"""The tasks that follow the store: when a round begins, and which wishes for one are heard."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

from app.deployment.repeating import Repeating

LONG_S = 3_600.0


def test_what_comes_during_a_round_has_another_one() -> None:
    async def run() -> int:
        n_rounds, done = 0, asyncio.Event()

        async def look() -> None:
            nonlocal n_rounds
            n_rounds += 1
            if n_rounds == 1:
                task.wake()
            else:
                done.set()

        task = Repeating("looking", look, LONG_S, lambda _: False)
        task.start()
        await asyncio.wait_for(done.wait(), 60)
        await task.stop()
        return n_rounds

    assert asyncio.run(run()) == 2


def test_a_task_that_is_woken_all_the_time_rests_between_rounds() -> None:
    rest_s = 0.05

    async def run() -> tuple[int, float]:
        n_rounds, begun_s = 0, time.monotonic()

        async def look() -> None:
            nonlocal n_rounds
            n_rounds += 1

        task = Repeating("looking", look, LONG_S, lambda _: False, rest_s)
        task.start()
        while n_rounds < 4:
            task.wake()
            await asyncio.sleep(0.001)
        await task.stop()
        return n_rounds, time.monotonic() - begun_s

    n_rounds, took_s = asyncio.run(run())
    assert took_s >= (n_rounds - 1) * rest_s * 0.99


class Held:
    """Something large, such as a model."""


def test_what_a_task_was_at_work_on_is_let_go_when_it_is_stopped() -> None:
    held: list[weakref.ref[Held]] = []

    async def look() -> None:
        large = Held()
        held.append(weakref.ref(large))
        await asyncio.sleep(LONG_S)

    stopped = Repeating("looking", look, LONG_S, lambda _: False)

    async def run() -> None:
        stopped.start()
        while not held:
            await asyncio.sleep(0)
        await stopped.stop()

    asyncio.run(run())
    gc.collect()
    assert held[0]() is None
