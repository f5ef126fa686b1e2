"""Calls that arrive together are run together; one that comes alone never waits.

There is no window of time: what was made ready within an iteration of the event loop is one batch,
and where that is the smaller part of what is under way, the batch waits for an iteration or two
more. An idle service has batches of one, at once; the more there is to do, the longer an iteration
takes and the larger its batches are.

Between one batch and the next the loop iterates too: sockets are read between iterations only, so
what can be answered at once, a rejection, waits no longer than the iteration it came in.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

log = logging.getLogger(__name__)

Given = TypeVar("Given")
Result = TypeVar("Result")
Context = TypeVar("Context")

# Beyond this a batch saves next to nothing, and the first in it would wait for the last.
MAX_TOGETHER = 16
# A batch waits for so many more iterations while it holds less than this share of what is under
# way: the others' histories are about to arrive, and one call for all costs less than two. A batch
# that follows another waits as well: in one iteration the answers are sent, in the next begin the
# requests that take their places.
MAX_EXTRA_ITERATIONS = 2
ENOUGH_SHARE = 0.5


@dataclass(slots=True)
class _Call:
    """One thing to be worked on, and who waits for the result."""

    step: Callable[[Sequence[Any], Any], Sequence[Any]]
    given: Any
    context: Any
    future: asyncio.Future[Any]

    def may_join(self, other: _Call) -> bool:
        return self.context is other.context and self.step is other.step


class Batcher:
    """Gathers calls of one iteration of the event loop.

    Args:
        count_under_way: calls that may come to share a batch, those that wait included.
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
        """What the step makes of each, in their order; it runs on the event loop.

        Only calls of the very same step with the very same context share a batch.
        """
        if self._count_under_way() <= 1:
            return step(given, context)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            # All whose wait ended in this iteration come before this call.
            loop.call_soon(self._run)
        futures: list[asyncio.Future[Result]] = [loop.create_future() for _ in given]
        self._waiting.extend(
            _Call(step, one, context, future) for one, future in zip(given, futures, strict=True)
        )
        return [await future for future in futures]

    def _run(self) -> None:
        """Run one batch, or leave it to a later iteration."""
        if self._is_worth_waiting():
            self._n_iterations += 1
            asyncio.get_running_loop().call_soon(self._run)
            return
        self._n_iterations = 0
        first = self._waiting[0]
        batch: list[_Call] = []
        while self._waiting and self._waiting[0].may_join(first) and len(batch) < MAX_TOGETHER:
            call = self._waiting.popleft()
            if not call.future.done():  # its caller may have gone
                batch.append(call)
        self._follows = bool(self._waiting)
        if self._follows:
            asyncio.get_running_loop().call_soon(self._run)
        if not batch:
            return
        try:
            results = first.step([call.given for call in batch], first.context)
        except Exception:
            log.exception("a batch of %d failed; each is run alone", len(batch))
            _run_one_by_one(batch)
            return
        for call, result in zip(batch, results, strict=True):
            call.future.set_result(result)

    def _is_worth_waiting(self) -> bool:
        if self._n_iterations >= MAX_EXTRA_ITERATIONS:
            return False
        enough = min(MAX_TOGETHER, ENOUGH_SHARE * self._count_under_way())
        return self._follows or len(self._waiting) < enough


def _run_one_by_one(batch: Sequence[_Call]) -> None:
    """A call that fails fails alone."""
    for call in batch:
        try:
            [result] = call.step([call.given], call.context)
        except Exception as error:
            call.future.set_exception(error)
        else:
            call.future.set_result(result)
