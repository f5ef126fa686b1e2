"""Runs calls that arrive together as one batch; a call that comes alone never waits.

There is no time window: calls that became ready within one iteration of the event loop are one
batch. Where that is the smaller part of the calls under way, the batch waits for an iteration
or two more. An idle service has batches of one, without delay; under load iterations take
longer and batches grow.

The loop also iterates between two batches: sockets are read between iterations only, so a 429,
which needs no batch, waits no longer than the iteration in which its request came.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

log = logging.getLogger(__name__)

Given = TypeVar("Given")
Result = TypeVar("Result")
Context = TypeVar("Context")

# A larger batch saves next to nothing, and its first call would wait for the last.
MAX_TOGETHER = 16
# A batch waits for up to this many more iterations while it holds less than this share of the calls
# under way: the others' histories are about to arrive, and one call for all costs less than two. A
# batch that follows another waits as well: in one iteration the answers are sent, in the next the
# following requests begin.
MAX_EXTRA_ITERATIONS = 2
ENOUGH_SHARE = 0.5


class _Call(NamedTuple):
    """One caller's work, and the future of its results."""

    step: Callable[[Sequence[Any], Any], Sequence[Any]]
    given: Sequence[Any]
    context: Any
    future: asyncio.Future[Any]


class Batcher:
    """Gathers calls of one iteration of the event loop.

    Args:
        count_under_way: returns the number of calls that may share a batch, waiting ones included.
    """

    def __init__(self, count_under_way: Callable[[], int]) -> None:
        self._count_under_way = count_under_way
        self._n_iterations = 0
        self._follows = False
        self._waiting: deque[_Call] = deque()

    async def run(
        self,
        step: Callable[[Sequence[Given], Context], Sequence[Result]],
        given: Sequence[Given],
        context: Context,
    ) -> Sequence[Result]:
        """The step's result for each item, in their order; it runs on the event loop.

        Only calls with the same step object and the same context object share a batch.
        """
        if self._count_under_way() <= 1:
            return step(given, context)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            # All calls whose wait ended in this iteration come before this one.
            loop.call_soon(self._run)
        future: asyncio.Future[Sequence[Result]] = loop.create_future()
        self._waiting.append(_Call(step, given, context, future))
        return await future

    def _run(self) -> None:
        """Run one batch, or leave it to a later iteration."""
        if self._is_worth_waiting():
            self._n_iterations += 1
            asyncio.get_running_loop().call_soon(self._run)
            return
        self._n_iterations = 0
        batch = self._next_batch()
        self._follows = bool(self._waiting)
        if self._follows:
            asyncio.get_running_loop().call_soon(self._run)
        if not batch:
            return
        step, _, context, _ = batch[0]
        try:
            results = _run_step(step, [one for call in batch for one in call.given], context)
        except Exception:
            log.exception("a batch of %d calls failed; each is run alone", len(batch))
            _run_one_by_one(batch)
            return
        start = 0
        for _, given, _, future in batch:
            end = start + len(given)
            future.set_result(results[start:end])
            start = end

    def _next_batch(self) -> list[_Call]:
        """The calls of the next batch; empty if all of their callers have gone."""
        waiting = self._waiting
        first_step, _, first_context, _ = waiting[0]
        batch: list[_Call] = []
        n_items = 0
        while waiting:
            step, given, context, future = waiting[0]
            if step is not first_step or context is not first_context:
                break
            if not future.done():  # its caller may have gone
                n_items += len(given)
                if batch and n_items > MAX_TOGETHER:
                    break
                batch.append(waiting[0])
            waiting.popleft()
        return batch

    def _is_worth_waiting(self) -> bool:
        if self._n_iterations >= MAX_EXTRA_ITERATIONS:
            return False
        enough = min(MAX_TOGETHER, ENOUGH_SHARE * self._count_under_way())
        return self._follows or len(self._waiting) < enough


def _run_one_by_one(batch: Sequence[_Call]) -> None:
    """A call that fails fails alone."""
    for call in batch:
        try:
            call.future.set_result(_run_step(call.step, call.given, call.context))
        except Exception as error:
            call.future.set_exception(error)


def _run_step(
    step: Callable[[Sequence[Any], Any], Sequence[Any]], given: Sequence[Any], context: Any
) -> Sequence[Any]:
    """The step's results; with another number of them, callers would get each other's."""
    results = step(given, context)
    if len(results) != len(given):
        raise ValueError(f"a step gave {len(results)} results for {len(given)} items")
    return results
