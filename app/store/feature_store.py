"""The store as the service sees it: user features, events, and what the watcher looks at.

Every call is one round trip with a short limit. After a failure nobody asks again for a moment,
then one caller does; so a store that is away costs the others nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.model.model import Model
from app.store.connection import Address, Command, StoreConnection, open_connection
from app.store.history import History, merge
from app.store.journal import Journal
from app.store.timeouts import Replies, Timeouts
from model_store import keys
from model_store.codecs import Event, decode_event, decode_user, encode_event
from model_store.errors import StoreAway, StoreError

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

    def is_for(self, model: Model) -> bool:
        """Whether the item indices are this model's; fresh items only ever add to them."""
        return self.version == model.version and self.n_items == len(model.ids)


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
        self, user_ids: Sequence[str], model: Model, timeout_s: float | None = None
    ) -> tuple[list[History], bool]:
        """Histories of users in the model's item indices, and whether they are up to date.

        One round trip for all. While the store is away: what was last read of each user, with
        the events this process has journaled since; the answer is then marked as not up to date.
        """
        commands: list[Command] = []
        for user_id in user_ids:
            commands.append(("GET", keys.user_key(model.version, user_id)))
            commands.append(("LRANGE", keys.events_key(user_id), 0, -1))
        try:
            replies = await self.call(commands, timeout_s)
        except StoreError:
            return [self._recall(user_id, model) for user_id in user_ids], False
        histories = []
        complete = True
        for user_id, blob, entries in zip(user_ids, replies[::2], replies[1::2], strict=True):
            try:
                histories.append(self._history(user_id, blob, entries, model))
            except StoreError as error:
                log.warning("user %r: %s", user_id, error)
                histories.append(History())
                complete = False
        return histories, complete

    def _history(
        self, user_id: str, blob: bytes | None, entries: list[bytes], model: Model
    ) -> History:
        """What the replies say, made anew only where they differ from the last ones."""
        last = self._remembered.get(user_id)
        waiting = self._journal.of_user(user_id)
        if (
            last is not None
            and last.is_for(model)
            and last.blob == blob
            and last.entries == entries
            and not waiting
        ):
            self._remembered.move_to_end(user_id)
            return last.history
        history = _decode(blob, entries, waiting, model)
        if not waiting:
            self._remember(user_id, blob, entries, history, model)
        return history

    def _remember(
        self,
        user_id: str,
        blob: bytes | None,
        entries: list[bytes],
        history: History,
        model: Model,
    ) -> None:
        self._remembered[user_id] = _Remembered(
            model.version, len(model.ids), blob, entries, history
        )
        self._remembered.move_to_end(user_id)
        if len(self._remembered) > self._remembered_users:
            self._remembered.popitem(last=False)

    def _recall(self, user_id: str, model: Model) -> History:
        last = self._remembered.get(user_id)
        waiting = self._journal.of_user(user_id)
        if last is None:
            return _decode(None, [], waiting, model)
        # Item indices of another version mean other items; its events are by item id.
        blob = last.blob if last.version == model.version else None
        return _decode(blob, last.entries, waiting, model)

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
            connection = await self._connect()
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

    async def _connect(self) -> StoreConnection:
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
        waited, _ = await asyncio.wait([self._connecting], timeout=self._timeout_s)
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
    blob: bytes | None, entries: Sequence[bytes], waiting: Sequence[Event], model: Model
) -> History:
    base = decode_user(blob) if blob else None
    return merge(base, [*map(decode_event, entries), *waiting], model.ids)
