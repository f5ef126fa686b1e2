"""An action that is repeated in a task, whatever errors it raises."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from model_store.errors import StoreError

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 30.0
LOGGED_FAILURES = 4


class Repeating:
    """A task for one action; errors are logged when they begin and end.

    Args:
        what: name of the action, for the log.
        action: one round; may raise. What it returns, unless None, is the pause after it.
        interval_s: pause between two rounds; grows while rounds fail by an error of the service.
        is_known: whether this error of the store is logged elsewhere.
        rest_s: the least time from one round to the next, however often it is woken.
    """

    def __init__(
        self,
        what: str,
        action: Callable[[], Awaitable[float | None]],
        interval_s: float,
        is_known: Callable[[StoreError], bool],
        rest_s: float = 0.0,
    ) -> None:
        self._what = what
        self._action = action
        self._interval_s = interval_s
        self._is_known = is_known
        self._pause_s = interval_s
        self._rest_s = rest_s
        self._n_failed = 0
        self._is_logged = False
        self._task: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()

    def start(self) -> None:
        """Start."""
        self._task = asyncio.get_running_loop().create_task(self._repeat())

    async def stop(self) -> None:
        """Stop, also in the middle of a round."""
        # Not kept: its exception refers to all that it was at work on, such as models.
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _repeat(self) -> None:
        while True:
            self._awake.clear()  # before the round: what comes during it may need another one
            await self.run_once()
            await asyncio.sleep(self._rest_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._pause_s - self._rest_s)):
                    await self._awake.wait()

    def wake(self) -> None:
        """Begin the next round now; to be called from the event loop's thread."""
        self._awake.set()

    async def run_once(self) -> None:
        """One round; a new error is logged."""
        try:
            pause_s = await self._action()
        except StoreError as error:
            self._n_failed += 1
            self._pause_s = self._interval_s
            # The first ones are not logged: the store's state may take a moment to be known.
            if (
                self._n_failed >= LOGGED_FAILURES
                and not self._is_logged
                and not self._is_known(error)
            ):
                self._is_logged = True
                log.warning("%s: %s", self._what, error)
        except Exception:
            # Without this task the service would be blind: try again after any error.
            self._n_failed += 1
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            if not self._is_logged:
                self._is_logged = True
                log.exception("%s failed and goes on", self._what)
        else:
            if self._is_logged:
                log.warning("%s works again", self._what)
            self._n_failed, self._is_logged = 0, False
            self._pause_s = self._interval_s if pause_s is None else pause_s
