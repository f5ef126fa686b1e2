"""Keeps what people are answered for the archive: in memory first, then in the store.

A request only adds the command for its answer to a list. Once a second the list is written to the
store. While that takes no writes, commands wait, up to a bound.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from app.deployment.buckets import N_BUCKETS, bucket_of
from app.store.connection import Command
from app.store.event_log import EventLog
from model_store.exposure_log import Exploration, Exposure, exposure_command
from model_store.texts import first_line

log = logging.getLogger(__name__)

WRITE_S = 1.0
MAX_WAITING = 20_000
"""Answers; a busy worker gives as many in ten seconds."""
AT_ONCE = 100
"""To pack as many holds the event loop for half a millisecond."""
_SALT = "exposures"


class ExposureLog:
    """Answers of one worker, on their way to the store.

    Args:
        store: of the log.
        share: of the answers that are kept, by a hash of the request's id; from 0 to 1.
        max_entries: limit on the entries of the log.
        on_lost: called with the number of answers that are lost.
    """

    def __init__(
        self, store: EventLog, share: float, max_entries: int, on_lost: Callable[[int], object]
    ) -> None:
        self._store = store
        self._n_buckets = round(share * N_BUCKETS)
        self._max_entries = max_entries
        self._on_lost = on_lost
        # Encoded already: that takes half of the time while the answer is in the CPU's caches.
        self._waiting: deque[tuple[str | None, Command]] = deque()
        self._sent: list[tuple[str | None, Command]] = []
        self._writing = asyncio.Lock()
        self._logged = ""

    def takes(self, request_id: str) -> bool:
        """Whether answers to a request are of the share."""
        is_all = self._n_buckets == N_BUCKETS
        return is_all or bucket_of(request_id, _SALT) < self._n_buckets

    def note(self, answer: dict[str, Any], model: str) -> bool:
        """Keep an answer, complete with its request_id, if it is of the share; whether it is.

        One that can't be written in UTF-8 is lost: it would keep all after it from being written.

        Args:
            answer: as it is given.
            model: name that it was given under.
        """
        if not self.takes(answer["request_id"]):
            return False
        if len(self._waiting) >= MAX_WAITING:
            self._on_lost(1)
            return True
        shown = Exposure(
            answer["request_id"],
            answer["user_id"],
            time.time(),
            answer["model_version"],
            answer.get("arm", ""),
            answer["served_by"],
            tuple([item["item_id"] for item in answer["items"]]),
            Exploration(**answer["exploration"]) if "exploration" in answer else None,
            model,
        )
        try:
            self._waiting.append((shown.user_id, exposure_command(shown, self._max_entries)))
        except (ValueError, TypeError) as error:
            self._on_lost(1)
            if (reason := first_line(error)) != self._logged:
                self._logged = reason
                log.error("an answer can't be written to the log of exposures: %s", reason)
        return True

    async def write(self) -> None:
        """Write what waits; all of it is in the store then, also what another call was writing.

        Raises:
            StoreError: the store takes no writes; what waits is written the next time, and some of
                it twice. So it is after any other error.
        """
        async with self._writing:
            while self._waiting:
                await self._write_some()
                await asyncio.sleep(0)  # others' turn

    async def _write_some(self) -> None:
        n_sent = min(AT_ONCE, len(self._waiting))
        self._sent = [self._waiting.popleft() for _ in range(n_sent)]
        try:
            await self._store.write([command for _, command in self._sent])
        except BaseException:  # also that the service ends meanwhile
            self._waiting.extendleft(reversed(self._sent))
            raise
        finally:
            self._sent = []

    @property
    def user_ids(self) -> set[str]:
        """Users whose answers are not in the store yet."""
        not_written = (*self._sent, *self._waiting)
        return {user_id for user_id, _ in not_written if user_id is not None}

    def drop(self, user_ids: Collection[str]) -> None:
        """Forget what users were answered that is not in the store yet."""
        self._waiting = deque(one for one in self._waiting if one[0] not in user_ids)
        self._sent = [one for one in self._sent if one[0] not in user_ids]
