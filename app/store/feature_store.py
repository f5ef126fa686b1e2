"""User features and events, each call one round trip with a short limit."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.store.client import ONE_ITERATION_S, StoreClient
from app.store.connection import Command
from app.store.deadline import Deadline
from app.store.history import History, merge
from app.store.journal import Journal
from app.store.state import StoreState
from model_store import keys
from model_store.codecs import Event, decode_event, decode_user, encode_event
from model_store.errors import StoreAway, StoreError
from model_store.id_map import IdMap

log = logging.getLogger(__name__)

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
    """Features and events, from the store or, while it is away, from memory and journal.

    Args:
        requests: for what requests wait for.
        background: for the replay of the journal.
        state: is told whether reads and writes work.
        journal: takes the events that the store can't take.
        remembered_users: whose last-read features are kept.
    """

    def __init__(
        self,
        requests: StoreClient,
        background: StoreClient,
        state: StoreState,
        journal: Journal,
        *,
        remembered_users: int,
    ) -> None:
        self._requests = requests
        self._background = background
        self._state = state
        self._journal = journal
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._remembered_users = remembered_users

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
        common = self._requests.timeout_s
        limits = [
            common if deadline is None else deadline.shorten(common)
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
            return await self._requests.ask(*commands, limit_s=longest)
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
            await self.push_events(events, self._requests)
        except StoreError:
            await self._journal.append(events)
            return False
        return True

    async def push_events(self, events: Sequence[UserEvent], client: StoreClient) -> None:
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
        await client.ask(*commands)

    async def replay_journal(self) -> int:
        """Write journaled events to the store; answers how many.

        Raises:
            StoreError: the store is away again; what is left stays in the journal.
        """
        return await self._journal.replay(lambda events: self.push_events(events, self._background))


def _decode(
    blob: bytes | None, entries: Sequence[bytes], waiting: Sequence[Event], ids: IdMap
) -> History:
    base = decode_user(blob) if blob else None
    return merge(base, [*map(decode_event, entries), *waiting], ids)
