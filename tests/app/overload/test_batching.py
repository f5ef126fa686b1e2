from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from app.model.inference import CALL_COST_POSITIONS, group_by_length
from app.overload.batching import MAX_EXTRA_ITERATIONS, MAX_TOGETHER, Batcher
from app.overload.running import Runner


class Doubling:
    """Doubles numbers, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, asked: Sequence[int], context: str) -> list[int]:
        self.batches.append(list(asked))
        if -1 in asked:
            raise ValueError(f"-1 in {context}")
        return [2 * one for one in asked]


def run(*asked: tuple[int, str]) -> tuple[list[int | BaseException], list[list[int]]]:
    doubling = Doubling()

    async def ask_all() -> list[int | BaseException]:
        batcher = Batcher(lambda: 2)

        async def ask(one: int, context: str) -> int:
            [answer] = await batcher.run(doubling, [one], context)
            return answer

        return await asyncio.gather(*(ask(*one) for one in asked), return_exceptions=True)

    return asyncio.run(ask_all()), doubling.batches


def test_one_alone_is_answered_at_once() -> None:
    assert run((4, "a")) == ([8], [[4]])


def test_requests_of_one_iteration_are_answered_together() -> None:
    answers, batches = run((1, "a"), (2, "a"), (3, "a"))
    assert answers == [2, 4, 6]
    assert batches == [[1, 2, 3]]


def test_another_context_is_another_batch() -> None:
    answers, batches = run((1, "a"), (2, "b"), (3, "b"))
    assert answers == [2, 4, 6]
    assert batches == [[1], [2, 3]]


def test_a_batch_has_a_largest_size() -> None:
    count = 2 * MAX_TOGETHER + 1
    answers, batches = run(*((one, "a") for one in range(count)))
    assert answers == [2 * one for one in range(count)]
    assert [len(batch) for batch in batches] == [MAX_TOGETHER, MAX_TOGETHER, 1]


def test_items_of_one_caller_share_a_batch() -> None:
    """Three callers: 10, 6 and 1 items; the first two fill a batch."""
    doubling = Doubling()

    async def ask_all() -> list[list[int]]:
        batcher = Batcher(lambda: 4)
        asked = [[*range(10)], [*range(10, 16)], [16]]
        return [*map(list, await asyncio.gather(*(batcher.run(doubling, a, "a") for a in asked)))]

    answers = asyncio.run(ask_all())
    assert [len(answer) for answer in answers] == [10, 6, 1]
    assert [one for answer in answers for one in answer] == [2 * one for one in range(17)]
    assert [len(batch) for batch in doubling.batches] == [16, 1]


def test_a_failing_request_fails_alone() -> None:
    answers, batches = run((1, "a"), (-1, "a"), (3, "a"))
    assert (answers[0], answers[2]) == (2, 6)
    assert isinstance(answers[1], ValueError)
    assert batches[0] == [1, -1, 3]


def test_one_whose_caller_has_gone_is_left_out() -> None:
    doubling = Doubling()

    async def leave() -> list[int]:
        batcher = Batcher(lambda: 2)
        gone, stays = (asyncio.create_task(batcher.run(doubling, [one], "a")) for one in (1, 2))
        asyncio.get_running_loop().call_soon(gone.cancel)
        await asyncio.sleep(0)
        return list(await stays)

    assert asyncio.run(leave()) == [4]
    assert doubling.batches == [[2]]


def test_nothing_is_computed_where_all_callers_have_gone() -> None:
    doubling = Doubling()

    async def leave() -> None:
        batcher = Batcher(lambda: 2)
        gone = [asyncio.create_task(batcher.run(doubling, [one], "a")) for one in (1, 2)]
        for task in gone:
            asyncio.get_running_loop().call_soon(task.cancel)
        for _ in range(MAX_EXTRA_ITERATIONS + 3):
            await asyncio.sleep(0)
        assert all(task.cancelled() for task in gone)

    asyncio.run(leave())
    assert doubling.batches == []


def test_a_request_that_is_alone_needs_no_further_iteration() -> None:
    doubling = Doubling()

    async def ask() -> list[int]:
        coroutine = Batcher(lambda: 1).run(doubling, [1, 2], "a")
        with pytest.raises(StopIteration) as done:
            coroutine.send(None)
        return list(done.value.value)

    assert asyncio.run(ask()) == [2, 4]


def run_with_iterations_between(n_iterations: int) -> list[list[int]]:
    """The batches where eight are under way and half come `n_iterations` later."""
    doubling = Doubling()

    async def ask_all() -> None:
        batcher = Batcher(lambda: 8)

        async def ask(one: int, after_iterations: int) -> None:
            for _ in range(after_iterations):
                await asyncio.sleep(0)
            await batcher.run(doubling, [one], "a")

        await asyncio.gather(*(ask(one, n_iterations * (one % 2)) for one in range(6)))

    asyncio.run(ask_all())
    return doubling.batches


def test_a_small_part_of_the_requests_under_way_waits_for_the_others() -> None:
    assert run_with_iterations_between(MAX_EXTRA_ITERATIONS) == [[0, 2, 4, 1, 3, 5]]


def test_no_request_waits_for_long() -> None:
    assert run_with_iterations_between(MAX_EXTRA_ITERATIONS + 2) == [[0, 2, 4], [1, 3, 5]]


def test_the_loop_iterates_between_batches() -> None:
    """Else what is read from a socket meanwhile, a rejection too, would wait for one batch more."""
    seen: list[str] = []

    def answer(asked: Sequence[int], context: str) -> list[int]:
        seen.append("batch")
        return list(asked)

    async def ask_all() -> None:
        batcher = Batcher(lambda: 2 * MAX_TOGETHER)
        asked = [batcher.run(answer, [one], "a") for one in range(2 * MAX_TOGETHER)]
        asking = asyncio.gather(*asked)
        while not asking.done():
            seen.append("iteration")
            await asyncio.sleep(0)

    asyncio.run(ask_all())
    first, second = (position for position, what in enumerate(seen) if what == "batch")
    assert seen[first:second].count("iteration") == MAX_EXTRA_ITERATIONS + 1


@pytest.mark.parametrize("seed", range(5))
def test_grouping_keeps_all_and_pads_little(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(0, 200, 40).tolist()
    groups = group_by_length(lengths)
    assert sorted(position for group in groups for position in group) == list(range(40))
    for group in groups:
        longest = max(lengths[position] for position in group)
        assert sum(longest - lengths[position] for position in group) <= CALL_COST_POSITIONS
    # A group more would not have paid.
    for group, following in pairwise(groups):
        longest = max(lengths[position] for position in group)
        joined = [*group, following[0]]
        assert sum(longest - lengths[position] for position in joined) > CALL_COST_POSITIONS


def test_equal_lengths_are_one_group() -> None:
    assert group_by_length([7, 7, 7]) == [[0, 1, 2]]
    assert group_by_length([]) == []


def test_another_step_is_another_batch() -> None:
    first, second = Doubling(), Doubling()

    async def ask_all() -> list[int]:
        batcher = Batcher(lambda: 8)
        calls = [batcher.run(step, [n], "a") for n, step in enumerate((first, first, second))]
        return [result for results in await asyncio.gather(*calls) for result in results]

    assert asyncio.run(ask_all()) == [0, 2, 4]
    assert (first.batches, second.batches) == ([[0, 1]], [[2]])


def test_a_heavy_step_runs_beyond_the_loop_and_alone() -> None:
    threads: list[int] = []

    def step(given: Sequence[int], context: str) -> list[int]:
        threads.append(threading.get_ident())
        return [2 * one for one in given]

    async def ask(*, heavy: bool) -> list[int]:
        runner = Runner(lambda: 1)
        together = await runner.run_together(step, [1, 2], "a", heavy=heavy)
        return [*together, *await runner.run(step, [3], "a", heavy=heavy)]

    assert asyncio.run(ask(heavy=True)) == asyncio.run(ask(heavy=False)) == [2, 4, 6]
    here = threading.get_ident()
    assert [thread == here for thread in threads] == [False, False, True, True]


def test_a_step_with_too_few_results_gives_nobody_anothers() -> None:
    def forget_the_last(asked: Sequence[int], _: str) -> list[int]:
        return list(asked[:-1]) if len(asked) > 1 else list(asked)

    async def ask_all() -> list[Sequence[int]]:
        batcher = Batcher(lambda: 2)
        return await asyncio.gather(*(batcher.run(forget_the_last, [n], "a") for n in (1, 2, 3)))

    assert asyncio.run(ask_all()) == [[1], [2], [3]]
