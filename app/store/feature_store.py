"""User features: one round trip for all users of a call, with a short limit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import hiredis

from app.store.client import StoreClient
from app.store.connection import Command, WholeStoreError
from app.store.deadline import Deadline
from app.store.journal import Journal
from app.store.remembered import Remembered, RememberedUsers
from app.store.scripts import LOAD, append_command
from app.store.served_answers import ServedAnswers
from app.store.server_client import ONE_ITERATION_S
from app.store.state import StoreState, trouble_in
from model_store import keys
from model_store.codecs import Event, decode_arrived, decode_user
from model_store.errors import StoreAway, StoreError
from model_store.event_rules import DEFAULT_EVENTS, EventsInfo
from model_store.history import History, check_items, merge
from model_store.id_map import IdMap

log = logging.getLogger(__name__)

Reply = bytes | None | Exception
Unreadable = (StoreError, hiredis.ReplyError)

# Users whose unreadable features were logged; with more than these, some are logged again.
LOGGED_USERS = 1_000


class FeatureStore:
    """Histories from the store or, while it is away, from memory and journal.

    Args:
        client: for what requests wait for.
        state: is told whether reads work.
        journal: holds the events that are not in the store yet.
        remembered_users: whose last-read features are kept.
        served: what users were answered; None where no answer is for a user to see.
    """

    def __init__(
        self,
        client: StoreClient,
        state: StoreState,
        journal: Journal,
        *,
        remembered_users: int,
        served: ServedAnswers | None = None,
    ) -> None:
        self.served = served
        self._client = client
        # A cluster's node is asked for its own users alone; the version is looked up by `check`.
        self._is_cluster = client.is_cluster
        self._state = state
        self._journal = journal
        self._remembered = RememberedUsers(remembered_users)
        self._logged: set[str] = set()

    async def read_histories(
        self,
        user_ids: Sequence[str],
        version: str,
        ids: IdMap,
        deadlines: Sequence[Deadline | None] | None = None,
        reading: EventsInfo = DEFAULT_EVENTS,
    ) -> list[History]:
        """Histories of users in a version's item indices, in the order of the users.

        One round trip for all. Where the store can't be read, or not by a user's own deadline,
        or has lost the version, the history is the one that was last read of that user, plus later
        events that this process knows, and is marked as incomplete.

        Args:
            user_ids: the users.
            version: version whose features are read.
            ids: its item indices.
            deadlines: one for each user; None sets no limit but the store's own.
            reading: how the version reads events.
        """
        late: set[int] = set()
        try:
            *replies, has_version = await self._ask(user_ids, version, deadlines, late)
        except StoreError:
            return [self._recall(user_id, version, ids, reading) for user_id in user_ids]
        self._state.has_version(version, has_version != 0)
        if any(map(_is_error, replies)):
            await self._convert(user_ids, replies, deadlines)
        histories = []
        found = zip(user_ids, replies[::2], replies[1::2], strict=True)
        for place, (user_id, blob, entries) in enumerate(found):
            last = self._remembered.get(user_id, version)
            if place in late:
                history = self._recall(user_id, version, ids, reading)
            elif (
                last is not None
                and last.blob == blob
                and last.entries == entries
                and last.is_for(version, ids)
                and (blob is not None or has_version)
                and not self._journal.of_user(user_id)
            ):
                history = last.history
            elif blob is None and has_version == 0:
                # Of a user without a history as of any other: nobody's is there.
                history = self._recall(user_id, version, ids, reading, entries)
            else:
                history = self._decode(user_id, blob, entries, version, ids, reading)
            histories.append(history)
        return histories

    @property
    def remembered(self) -> RememberedUsers:
        """Users whose features are in memory."""
        return self._remembered

    async def _ask(
        self,
        user_ids: Sequence[str],
        version: str,
        deadlines: Sequence[Deadline | None] | None,
        late: set[int],
    ) -> list[Any]:
        """Blob and events of each user, and at the end whether the version is published there.

        Adds to `late` the positions of users whose deadline passed before the answer came, or whose
        node of a cluster is away.

        Raises:
            StoreError: the store is away, or rejects all reads.
        """
        commands: list[Command] = []
        for user_id in user_ids:
            commands.append(("GET", keys.user_key(version, user_id)))
            commands.append(("ZRANGE", keys.events_key(user_id), 0, -1))
        if not self._is_cluster:
            commands.append(("HEXISTS", keys.MODELS, version))
        if deadlines is None or not any(deadlines):
            replies = await self._client.call(commands)
        else:
            replies = await self._call_until(commands, deadlines, late)
        trouble = trouble_in(replies[0])
        if trouble is not None:
            self._state.set(trouble, self._state.writes)
            raise WholeStoreError(trouble.line)
        if self._state.reads is not None:
            self._state.reads_work()
        if self._is_cluster:
            late.update(at // 2 for at, one in enumerate(replies) if isinstance(one, StoreAway))
            replies.append(self._state.holds(version))
        return replies

    async def _call_until(
        self, commands: Sequence[Command], deadlines: Sequence[Deadline | None], late: set[int]
    ) -> list[Any]:
        """The replies, awaited until the last of the deadlines."""
        common = self._client.timeout_s
        limits = [
            common if deadline is None else deadline.shorten(common) for deadline in deadlines
        ]
        longest = max(limits)
        if longest <= 0:
            raise StoreAway("the deadline has passed")
        loop = asyncio.get_running_loop()
        # As with the longest limit: a delayed loop reads its sockets once more.
        timers = [
            loop.call_later(limit, loop.call_later, ONE_ITERATION_S, late.add, place)
            for place, limit in enumerate(limits)
            if limit < longest
        ]
        try:
            return await self._client.call(commands, longest)
        finally:
            for timer in timers:
                timer.cancel()

    def _decode(
        self,
        user_id: str,
        blob: Reply,
        entries: list[bytes] | Exception,
        version: str,
        ids: IdMap,
        reading: EventsInfo,
    ) -> History:
        """The history from the replies; unreadable ones come from memory, and are logged once."""
        waiting = self._journal.of_user(user_id)
        try:
            base = _decode_base(blob, ids)
            history = merge(base, [*_decode_events(entries), *waiting], ids, reading)
        except Unreadable as error:
            self._log_once(user_id, error)
            return self._recall(user_id, version, ids, reading, entries)
        if not waiting and not isinstance(blob, Exception) and not isinstance(entries, Exception):
            read = Remembered(version, len(ids), blob, entries, history)
            self._remembered.put(user_id, read)
        return history

    async def _convert(
        self,
        user_ids: Sequence[str],
        replies: list[Any],
        deadlines: Sequence[Deadline | None] | None,
    ) -> None:
        """Read events again where reading them failed: they may be lists, as of version 0.1.

        One further round trip, for users of whom no trouble is known; changes their `replies`.
        """
        places = [
            place
            for place, user_id in enumerate(user_ids)
            if isinstance(replies[2 * place + 1], hiredis.ReplyError)
            and user_id not in self._logged
        ]
        limits = [deadlines[place] for place in places] if deadlines else []
        limit_s = min(
            (deadline.remaining_s for deadline in limits if deadline),
            default=self._client.timeout_s,
        )
        if not places or limit_s <= 0:
            return
        commands: list[Command] = [LOAD]
        for user_id in map(user_ids.__getitem__, places):
            commands.append(append_command(user_id, [], []))
            commands.append(("ZRANGE", keys.events_key(user_id), 0, -1))
        with contextlib.suppress(StoreError):
            again = await self._client.call(commands, limit_s)
            for place, entries in zip(places, again[2::2], strict=True):
                replies[2 * place + 1] = entries

    def _recall(
        self,
        user_id: str,
        version: str,
        ids: IdMap,
        reading: EventsInfo,
        entries: Sequence[bytes] | Exception = (),
    ) -> History:
        """The features last read of a user, plus the events just read and those in the journal."""
        last = self._remembered.get(user_id, version)
        events = [*self._journal.of_user(user_id)]
        with contextlib.suppress(*Unreadable):
            events = [*_decode_events(entries), *events]
        if last is None:
            return replace(merge(None, events, ids, reading), is_complete=False)
        events = [*_decode_events(last.entries), *events]
        # Item indices of another version mean other items; its events are by item id.
        blob = last.blob if last.version == version else None
        try:
            history = merge(_decode_base(blob, ids), events, ids, reading)
        except Unreadable:
            history = merge(None, events, ids, reading)
        return replace(history, is_complete=False)

    def _log_once(self, user_id: str, error: Exception) -> None:
        if user_id in self._logged:
            return
        if len(self._logged) >= LOGGED_USERS:
            self._logged.clear()
        self._logged.add(user_id)
        log.warning("features of user %r can't be read: %s", user_id, error)


def _is_error(reply: Any) -> bool:
    return isinstance(reply, Exception)


def _decode_base(blob: Reply, ids: IdMap) -> Any:
    if isinstance(blob, Exception):
        raise blob
    return None if blob is None else check_items(decode_user(blob), len(ids))


def _decode_events(entries: Sequence[bytes] | Exception) -> list[Event]:
    if isinstance(entries, Exception):
        raise entries
    return [*map(decode_arrived, entries)]
