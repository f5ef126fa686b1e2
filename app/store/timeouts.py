"""Calls to the store that take too long, noticed by one timer for all of them.

All calls have the same limit, so the oldest is always the next to be overdue; a timer of its own
for each, set and cancelled with every request, costs more than sending the call.
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
        limit_s: after which a call is overdue.
        notice: told of each overdue call, its connection and the limit.
    """

    def __init__(
        self, limit_s: float, notice: Callable[[Replies, Connection, float], None]
    ) -> None:
        self._limit_s = limit_s
        self._notice = notice
        self._calls: deque[tuple[float, Replies, Connection]] = deque()

    def watch(self, future: Replies, connection: Connection) -> None:
        """Watch a call that was made just now."""
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
