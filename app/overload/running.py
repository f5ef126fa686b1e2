"""Runs the steps of a request: at once, in a batch with others, or off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from app.overload.batching import Batcher

Given = TypeVar("Given")
Result = TypeVar("Result")
Context = TypeVar("Context")


class Runner:
    """Runs steps, whatever they compute.

    Args:
        count_under_way: returns the number of admitted requests without an answer.
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
        """Run a step for this request and others that need it now; in a thread if heavy."""
        if heavy:
            return await asyncio.to_thread(step, given, context)
        return await self._batcher.run(step, given, context)
