"""Timeouts of calls to the store, with one timer for all of them.

All calls have the same limit, so the oldest always times out next. A timer for each call, set and
cancelled with every request, would cost more than sending the call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

Replies: TypeAlias = "asyncio.Future[list[Any]]"
Connection = TypeVar("Connection")


class Timeouts(Generic[Connection]):
    """Watches calls that share one limit.

    Args:
        limit_s: limit of a call.
        notice: called for each call that timed out, with its connection and the limit.
    """

    def __init__(
        self, limit_s: float, notice: Callable[[Replies, Connection, float], None]
    ) -> None:
        self._limit_s = limit_s
        self._notice = notice
        self._calls: deque[tuple[float, Replies, Connection]] = deque()

    def watch(self, future: Replies, connection: Connection) -> None:
        """Watch a call that was just sent."""
        loop = asyncio.get_running_loop()
        if not self._calls:
            loop.call_later(self._limit_s, self._look)
        self._calls.append((loop.time() + self._limit_s, future, connection))

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._calls:
            due, future, connection = self._calls[0]
            if not future.done() and due > now:
                loop.call_later(due - now, self._look)
                return
            self._calls.popleft()
            if not future.done():
                self._notice(future, connection, self._limit_s)
