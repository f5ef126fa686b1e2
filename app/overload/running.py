"""How the steps of a request are run: at once, in a batch with others', or off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from app.overload.batching import Batcher

Given = TypeVar("Given")
Result = TypeVar("Result")
Context = TypeVar("Context")


class Runner:
    """Runs steps; what they do is their own.

    Args:
        count_under_way: requests that were taken in and not yet answered.
    """

    def __init__(self, count_under_way: Callable[[], int]) -> None:
        self._batcher = Batcher(count_under_way)

    async def run(
        self,
        step: Callable[[Sequence[Given], Context], Sequence[Result]],
        given: Sequence[Given],
        context: Context,
        *,
        heavy: bool,
    ) -> Sequence[Result]:
        """Run a step for one request: at once, or in a thread where it is heavy."""
        if heavy:
            return await asyncio.to_thread(step, given, context)
        return step(given, context)

    async def run_together(
        self,
        step: Callable[[Sequence[Given], Context], Sequence[Result]],
        given: Sequence[Given],
        context: Context,
        *,
        heavy: bool,
    ) -> Sequence[Result]:
        """Run a step for this request and others that come to it now; in a thread if heavy."""
        if heavy:
            return await asyncio.to_thread(step, given, context)
        return await self._batcher.run(step, given, context)
