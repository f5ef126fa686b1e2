"""Requests that arrive together are answered together; one that comes alone never waits.

There is no window of time: what was made ready within a turn of the event loop is one batch, and
where that is the lesser part of what is under way, the loop turns once or twice more. An idle
service has batches of one, at once; the more there is to do, the longer a turn takes and the
larger its batches are.

Between one batch and the next the loop turns too: sockets are read between turns only, so what can
be told at once, a refusal, waits for the rest of the turn it came in.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Context = TypeVar("Context")

# Beyond this a batch saves next to nothing, and the first in it would wait for the last.
MAX_TOGETHER = 16
# A batch waits for so many more turns while it holds less than this share of what is under way:
# the others' histories are about to arrive, and one call for all costs less than two. A batch that
# follows another waits as well: in one turn the answers are sent, in the next begin the requests
# that take their places.
MAX_EXTRA_ITERATIONS = 2
ENOUGH_SHARE = 0.5


class Batcher(Generic[Asked, Context, Answer]):
    """Gathers calls of one turn of the event loop.

    Args:
        answer: answers several at once, in their order; runs on the event loop.
        count_under_way: calls that may come to share a batch, those that wait included.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Asked], Context], Sequence[Answer]],
        count_under_way: Callable[[], int],
    ) -> None:
        self._answer = answer
        self._count_under_way = count_under_way
        self._n_iterations = 0
        self._follows = False
        self._waiting: deque[tuple[Asked, Context, asyncio.Future[Answer]]] = deque()

    async def ask(self, asked: Sequence[Asked], context: Context) -> Sequence[Answer]:
        """Answers in the same order; only calls with the very same context share a batch."""
        if self._count_under_way() <= 1:
            return self._answer(asked, context)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            # All whose wait ended in this turn come to stand before this call.
            loop.call_soon(self._run)
        futures: list[asyncio.Future[Answer]] = [loop.create_future() for _ in asked]
        self._waiting.extend((one, context, f) for one, f in zip(asked, futures, strict=True))
        return [await future for future in futures]

    def _run(self) -> None:
        """Answer one batch, or leave it to a later turn."""
        if self._is_worth_waiting():
            self._n_iterations += 1
            asyncio.get_running_loop().call_soon(self._run)
            return
        self._n_iterations = 0
        context = self._waiting[0][1]
        batch: list[tuple[Asked, asyncio.Future[Answer]]] = []
        while self._waiting and self._waiting[0][1] is context and len(batch) < MAX_TOGETHER:
            asked, _, future = self._waiting.popleft()
            if not future.done():  # its caller may have gone
                batch.append((asked, future))
        self._follows = bool(self._waiting)
        if self._follows:
            asyncio.get_running_loop().call_soon(self._run)
        if not batch:
            return
        try:
            answers = self._answer([asked for asked, _ in batch], context)
        except Exception:
            log.exception("a batch of %d failed; each is answered alone", len(batch))
            self._run_one_by_one(batch, context)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            future.set_result(answer)

    def _is_worth_waiting(self) -> bool:
        if self._n_iterations >= MAX_EXTRA_ITERATIONS:
            return False
        enough = min(MAX_TOGETHER, ENOUGH_SHARE * self._count_under_way())
        return self._follows or len(self._waiting) < enough

    def _run_one_by_one(
        self, batch: Sequence[tuple[Asked, asyncio.Future[Answer]]], context: Context
    ) -> None:
        """What one of a batch spoils is its own trouble."""
        for asked, future in batch:
            try:
                [answer] = self._answer([asked], context)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(answer)
