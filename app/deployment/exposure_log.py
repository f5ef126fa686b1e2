"""Keeps what people are answered for the archive: in memory first, then in the store.

A request only adds its answer to a list. Once a second the list is written to the store. While that
takes no writes, answers wait, up to a bound.
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
from model_store.errors import StoreError
from model_store.exposure_log import (
    ITEMS_AT,
    USER_AT,
    Row,
    exposure_key_of,
    exposures_command,
)
from model_store.texts import first_line

log = logging.getLogger(__name__)

WRITE_S = 1.0
MAX_WAITING = 20_000
"""Answers; a busy worker gives as many in ten seconds."""
AT_ONCE, ITEMS_AT_ONCE = 500, 5_000
"""Answers, and items in them: to encode as many holds the event loop for half a millisecond."""
_SALT = "exposures"


class ExposureLog:
    """Answers of one worker, on their way to the store.

    Args:
        store: of the log.
        share: of the answers that are kept, by a hash of the request's id; from 0 to 1.
        max_answers: limit on the answers of the log.
        on_lost: called with the number of answers that are lost.
    """

    def __init__(
        self, store: EventLog, share: float, max_answers: int, on_lost: Callable[[int], object]
    ) -> None:
        self._store = store
        self._n_buckets = round(share * N_BUCKETS)
        self._takes_all = self._n_buckets == N_BUCKETS
        self._max_answers = max_answers
        self._on_lost = on_lost
        # Encoded together when they are written: one at a time, it takes twice the CPU time.
        self._waiting: deque[Row] = deque()
        self._sent: list[Row] = []
        # Of streams that rejected them in this write: others are written meanwhile.
        self._rejected: list[Row] = []
        self._writing = asyncio.Lock()
        self._logged = ""

    def takes(self, request_id: str) -> bool:
        """Whether answers to a request are of the share."""
        return self._takes_all or bucket_of(request_id, _SALT) < self._n_buckets

    def note(self, answer: dict[str, Any], model: str) -> bool:
        """Keep an answer, complete with its request_id, if it is of the share; whether it is.

        Args:
            answer: as it is given.
            model: name that it was given under.
        """
        if not self.takes(answer["request_id"]):
            return False
        if len(self._waiting) >= MAX_WAITING:
            self._on_lost(1)
            return True
        self._waiting.append(
            (
                answer["request_id"],
                answer["user_id"],
                time.time(),
                answer["model_version"],
                answer.get("arm", ""),
                answer["served_by"],
                [item["item_id"] for item in answer["items"]],
                answer.get("exploration"),
                model,
            )
        )
        return True

    async def write(self) -> None:
        """Write what waits; all of it is in the store then, also what another call was writing.

        Answers that come meanwhile are for the next call: a busy service would go on and on, and
        pay for an entry for every few of them.

        Raises:
            StoreError: the store takes no writes; what waits is written the next time, and some of
                it twice. So it is after any other error.
        """
        async with self._writing:
            n_left, errors = len(self._waiting), list[StoreError]()
            try:
                while n_left > 0 and self._waiting:
                    n_left -= await self._write_some(errors)
                    await asyncio.sleep(0)  # others' turn
            finally:
                rejected, self._rejected = self._rejected, []
                self._waiting.extendleft(reversed(rejected))
            if errors:
                raise errors[0]

    async def _write_some(self, errors: list[StoreError]) -> int:
        """Write the next ones, but those of streams with errors; returns how many it took."""
        self._sent, n_items = [], 0
        while self._waiting and len(self._sent) < AT_ONCE and n_items < ITEMS_AT_ONCE:
            n_items += len(self._waiting[0][ITEMS_AT])
            self._sent.append(self._waiting.popleft())
        n_taken = len(self._sent)
        try:
            commands = self._commands()
            failed = await self._store.write([*commands.values()])
            if failed:  # of a cluster, some nodes may be away
                errors += failed.values()
                streams = {key for place, key in enumerate(commands) if place in failed}
                self._rejected += [
                    one for one in self._sent if exposure_key_of(one[USER_AT]) in streams
                ]
        except BaseException:  # also that the service ends meanwhile
            self._waiting.extendleft(reversed(self._sent))
            raise
        finally:
            self._sent = []
        return n_taken

    def _commands(self) -> dict[str, Command]:
        """The commands for what is being sent, by stream."""
        by_stream: dict[str, list[Row]] = {}
        for shown in self._sent:
            by_stream.setdefault(exposure_key_of(shown[USER_AT]), []).append(shown)
        try:
            return {
                key: exposures_command(key, rows, self._max_answers)
                for key, rows in by_stream.items()
            }
        except (ValueError, TypeError):
            n_before = len(self._sent)
            self._sent = [shown for shown in self._sent if self._can_be_written(shown)]
            if len(self._sent) == n_before:
                raise
            return self._commands()

    def _can_be_written(self, shown: Row) -> bool:
        """Whether an answer can be encoded; else it is lost, as it would keep others back."""
        try:
            exposures_command("", [shown], self._max_answers)
        except (ValueError, TypeError) as error:
            self._on_lost(1)
            if (reason := first_line(error)) != self._logged:
                self._logged = reason
                log.error("an answer can't be written to the log of exposures: %s", reason)
            return False
        return True

    @property
    def n_waiting(self) -> int:
        """Answers that are not in the store yet."""
        return len(self._rejected) + len(self._sent) + len(self._waiting)

    @property
    def user_ids(self) -> set[str]:
        """Users whose answers are not in the store yet."""
        not_written = (*self._rejected, *self._sent, *self._waiting)
        return {user_id for _, user_id, *_ in not_written if user_id is not None}

    def drop(self, user_ids: Collection[str]) -> None:
        """Forget what users were answered that is not in the store yet."""
        self._waiting = deque(shown for shown in self._waiting if shown[USER_AT] not in user_ids)
        self._sent = [shown for shown in self._sent if shown[USER_AT] not in user_ids]
        self._rejected = [shown for shown in self._rejected if shown[USER_AT] not in user_ids]
