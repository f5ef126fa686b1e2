"""The store as the service sees it: user features, events, and what the watcher looks at.

Every call is one round trip with a short limit. After a failure nobody asks again for a moment,
then one caller does; so a store that is away costs the others nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.store.connection import Address, Command, StoreConnection, open_connection
from app.store.deadline import Deadline
from app.store.history import History, merge
from app.store.journal import Journal
from app.store.timeouts import Replies, Timeouts
from model_store import keys
from model_store.codecs import Event, decode_event, decode_user, encode_event
from model_store.errors import StoreAway, StoreError
from model_store.id_map import IdMap

log = logging.getLogger(__name__)

RETRY_AFTER_S = 0.25
# How long the probe of a store that was away may take; requests don't wait for it.
PROBE_TIMEOUT_S = 1.0
ONE_ITERATION_S = 0.001

UserEvent = tuple[str, Event]


@dataclass(frozen=True)
class _Remembered:
    """A user's features as last read, and the history they make in a model's item indices."""

    version: str
    n_items: int
    blob: bytes | None
    entries: list[bytes]
    history: History

    def is_for(self, version: str, ids: IdMap) -> bool:
        """Whether the item indices are this version's; fresh items only ever add to them."""
        return self.version == version and self.n_items == len(ids)


class FeatureStore:
    """Features and events, from the store or, while it is away, from memory and journal."""

    def __init__(
        self, url: str, journal: Journal, *, timeout_s: float, remembered_users: int
    ) -> None:
        self._address = Address.parse(url)
        self._timeout_s = timeout_s
        self._journal = journal
        self._connection: StoreConnection | None = None
        self._connecting: asyncio.Task[StoreConnection] | None = None
        self._timeouts = Timeouts[StoreConnection](timeout_s, self._look_once_more)
        self._retry_at = 0.0
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._remembered_users = remembered_users

    @property
    def is_up(self) -> bool:
        """Whether the last that was heard of the store was good."""
        return self._connection is not None and self._connection.is_open

    async def close(self) -> None:
        """End the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.close()

    # --- user features -------------------------------------------------------------------

    async def read_histories(
        self,
        user_ids: Sequence[str],
        version: str,
        ids: IdMap,
        deadlines: Sequence[Deadline | None] | None = None,
    ) -> list[History]:
        """Histories of users in a version's item indices, in the order of the users.

        One round trip for all. Where the store can't be read, or not by a user's own deadline,
        the history is what was last read of that user, with the events this process has
        journaled since, and is marked as not complete.

        Args:
            user_ids: whose histories.
            version: its features are read.
            ids: its item indices.
            deadlines: one for each user; None sets no limit but the store's own.
        """
        late: set[int] = set()
        try:
            replies = await self._ask_for_users(user_ids, version, deadlines, late)
        except StoreError:
            return [self._recall(user_id, version, ids) for user_id in user_ids]
        histories = []
        for place, user_id in enumerate(user_ids):
            if place in late:
                histories.append(self._recall(user_id, version, ids))
                continue
            blob, entries = replies[2 * place : 2 * place + 2]
            try:
                histories.append(self._history(user_id, blob, entries, version, ids))
            except StoreError as error:
                log.warning("user %r: %s", user_id, error)
                histories.append(History(is_complete=False))
        return histories

    async def _ask_for_users(
        self,
        user_ids: Sequence[str],
        version: str,
        deadlines: Sequence[Deadline | None] | None,
        late: set[int],
    ) -> list[Any]:
        """Blob and events of each user; adds to `late` whose deadline passed before they came."""
        limits = [
            self._timeout_s if deadline is None else deadline.shorten(self._timeout_s)
            for deadline in deadlines or [None] * len(user_ids)
        ]
        longest = max(limits)
        if longest <= 0:
            raise StoreAway("the deadline has passed")
        commands: list[Command] = []
        for user_id in user_ids:
            commands.append(("GET", keys.user_key(version, user_id)))
            commands.append(("LRANGE", keys.events_key(user_id), 0, -1))
        loop = asyncio.get_running_loop()
        # As with the longest limit: a loop that was held up looks at its sockets once more.
        timers = [
            loop.call_later(limit, loop.call_later, ONE_ITERATION_S, late.add, place)
            for place, limit in enumerate(limits)
            if limit < longest
        ]
        try:
            return await self.call(commands, longest if longest < self._timeout_s else None)
        finally:
            for timer in timers:
                timer.cancel()

    def _history(
        self, user_id: str, blob: bytes | None, entries: list[bytes], version: str, ids: IdMap
    ) -> History:
        """What the replies say, made anew only where they differ from the last ones."""
        last = self._remembered.get(user_id)
        waiting = self._journal.of_user(user_id)
        if (
            last is not None
            and last.is_for(version, ids)
            and last.blob == blob
            and last.entries == entries
            and not waiting
        ):
            self._remembered.move_to_end(user_id)
            return last.history
        history = _decode(blob, entries, waiting, ids)
        if not waiting:
            self._remember(user_id, _Remembered(version, len(ids), blob, entries, history))
        return history

    def _remember(self, user_id: str, remembered: _Remembered) -> None:
        self._remembered[user_id] = remembered
        self._remembered.move_to_end(user_id)
        if len(self._remembered) > self._remembered_users:
            self._remembered.popitem(last=False)

    def _recall(self, user_id: str, version: str, ids: IdMap) -> History:
        """What was last read of a user, and what has been journaled since."""
        last = self._remembered.get(user_id)
        waiting = self._journal.of_user(user_id)
        if last is None:
            history = _decode(None, [], waiting, ids)
        else:
            # Item indices of another version mean other items; its events are by item id.
            blob = last.blob if last.version == version else None
            history = _decode(blob, last.entries, waiting, ids)
        return replace(history, is_complete=False)

    # --- events --------------------------------------------------------------------------

    async def append_events(self, events: Sequence[UserEvent]) -> bool:
        """Make events durable and visible; True in the store, False in the journal.

        Raises:
            OSError: neither could be written.
        """
        try:
            await self.push_events(events)
        except StoreError:
            await self._journal.append(events)
            return False
        return True

    async def push_events(
        self, events: Sequence[UserEvent], timeout_s: float | None = None
    ) -> None:
        """Append events to their users' lists in the store, oldest entries beyond the limit go.

        Raises:
            StoreError: not all are known to have been written; writing them again is harmless.
        """
        by_user: dict[str, list[bytes]] = {}
        for user_id, event in events:
            by_user.setdefault(user_id, []).append(encode_event(event))
        commands: list[Command] = []
        for user_id, entries in by_user.items():
            key = keys.events_key(user_id)
            commands.append(("RPUSH", key, *entries))
            commands.append(("LTRIM", key, -keys.MAX_EVENTS_PER_USER, -1))
        await self.call(commands, timeout_s)

    async def replay_journal(self) -> int:
        """Write journaled events to the store; answers how many.

        Raises:
            StoreError: the store is away again; what is left stays in the journal.
        """
        return await self._journal.replay(lambda events: self.push_events(events, PROBE_TIMEOUT_S))

    # --- calls ---------------------------------------------------------------------------

    async def call(self, commands: Sequence[Command], timeout_s: float | None = None) -> list[Any]:
        """Send commands in one round trip; their replies.

        A caller's own, shorter limit doesn't make the store count as away.

        Raises:
            StoreAway: it isn't there, or didn't answer in time.
            StoreError: it refused a command.
        """
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._connect(timeout_s)
        future = connection.call(commands)
        if timeout_s is None:
            self._timeouts.watch(future, connection)
            replies = await future
        else:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(timeout_s, self._look_once_more, future, connection, timeout_s)
            try:
                replies = await future
            finally:
                timer.cancel()
        for reply in replies:
            if isinstance(reply, Exception):
                raise StoreError(f"the store refused: {reply}")
        return replies

    def _look_once_more(self, future: Replies, connection: StoreConnection, limit: float) -> None:
        # A loop that was held up runs its timers before it reads its sockets: the reply may lie
        # there, and a slow loop is not a store that is away. One more turn tells.
        loop = asyncio.get_running_loop()
        loop.call_later(ONE_ITERATION_S, self._give_up, future, connection, limit)

    def _give_up(self, future: Replies, connection: StoreConnection, limit: float) -> None:
        if future.done():
            return
        future.set_exception(StoreAway(f"the store did not answer in {limit * 1000:.0f} ms"))
        if limit >= self._timeout_s:
            connection.close()
            self._retry_at = asyncio.get_running_loop().time() + RETRY_AFTER_S

    async def _connect(self, timeout_s: float | None) -> StoreConnection:
        """The connection that is being made, or a new one if it is time to try again."""
        loop = asyncio.get_running_loop()
        if self._connecting is None:
            if loop.time() < self._retry_at:
                raise StoreAway("the store was away a moment ago")
            self._connecting = loop.create_task(
                open_connection(self._address, max(PROBE_TIMEOUT_S, self._timeout_s))
            )
            self._connecting.add_done_callback(self._connected)
        elif self._retry_at > 0:
            raise StoreAway("the store is away, and somebody is asking already")
        limit = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        waited, _ = await asyncio.wait([self._connecting], timeout=limit)
        if not waited and limit < self._timeout_s:
            raise StoreAway("the store does not answer by the deadline")
        if not waited:
            self._retry_at = loop.time() + RETRY_AFTER_S
            raise StoreAway("the store does not answer")
        return waited.pop().result()

    def _connected(self, task: asyncio.Task[StoreConnection]) -> None:
        self._connecting = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            if self._retry_at > 0:
                log.info("the store is back")
            self._connection, self._retry_at = task.result(), 0.0
        else:
            if self._retry_at == 0:
                log.warning("%s", error)
            self._retry_at = asyncio.get_running_loop().time() + RETRY_AFTER_S


def _decode(
    blob: bytes | None, entries: Sequence[bytes], waiting: Sequence[Event], ids: IdMap
) -> History:
    base = decode_user(blob) if blob else None
    return merge(base, [*map(decode_event, entries), *waiting], ids)
