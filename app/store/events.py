"""Events: durable once acknowledged, in the store or else in the journal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from app.store.client import StoreClient
from app.store.connection import WholeStoreError
from app.store.journal import Journal
from app.store.recent_events import RecentEvents
from app.store.scripts import LOAD, append_command
from app.store.sessions import NO_SESSIONS, Sessions
from app.store.state import StoreState, trouble_in
from model_store import keys
from model_store.codecs import Event, encode_all_arrived
from model_store.error_replies import explain
from model_store.errors import StoreAway, StoreError
from model_store.event_log import log_command
from model_store.forgotten import digest_of_user

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
# More in one round trip would delay requests, and take so long that the store seems to be away.
USERS_AT_ONCE = 100
# Their encoding holds the event loop for a millisecond; one user's go together, however many.
EVENTS_AT_ONCE = 250

UserEvents = Mapping[str, Sequence[Event]]


@dataclass
class _Pause:
    """How long a user's events wait in the journal before the store is tried again."""

    seconds: float
    until_s: float


@dataclass
class _Takeovers:
    """Beginnings and ends of the takeovers that one client noticed, and those under way."""

    n_changes: int = 0
    n_under_way: int = 0


class EventStore:
    """Appends events to their users' lists; a bad key affects its own user only.

    Args:
        requests: for events of requests.
        background: for the replay of the journal.
        state: records whether writes work.
        journal: takes the events that the store can't take.
        sessions: the users whose events have a time to live.
        logged_entries: limit on the entries of the event log; 0: there is none.
        recent: keeps what the store has taken lately, where a replica may take a primary's place;
            None where none can.
    """

    def __init__(
        self,
        requests: StoreClient,
        background: StoreClient,
        state: StoreState,
        journal: Journal,
        sessions: Sessions = NO_SESSIONS,
        logged_entries: int = 0,
        recent: RecentEvents | None = None,
    ) -> None:
        self._recent = recent
        self._sessions = sessions
        self._logged_entries = logged_entries
        self._requests = requests
        self._background = background
        self._state = state
        self._journal = journal
        self._pauses: dict[str, _Pause] = {}
        self._takeovers = {True: _Takeovers(), False: _Takeovers()}
        # Slots whose new primary still lacks what the journal couldn't take.
        self._owed: list[Collection[int] | None] = []

    async def append(self, events: Sequence[tuple[str, Event]]) -> int:
        """Make events durable and visible; how many of them went to the journal.

        Raises:
            OSError: the journal can't be written either; those in the store stay there.
        """
        if len(events) > EVENTS_AT_ONCE:
            await asyncio.sleep(0)  # others' turn, as between the batches
        by_user: dict[str, list[Event]] = {}
        for user_id, event in events:
            by_user.setdefault(user_id, []).append(event)
        since = self._n_changes(self._takeovers[False])
        try:
            failed = await self._push(by_user, self._requests)
        except StoreError:
            left = by_user
        else:
            left = {user_id: by_user[user_id] for user_id in failed}
            self._note(by_user, failed)
            if self._is_another_since(since, self._takeovers[False]):
                left = by_user
        if left:
            await self._journal.append(left)
        return sum(map(len, left.values()))

    async def taken_over(
        self, slots: Collection[int] | None, *, is_background: bool = False
    ) -> None:
        """Put into the journal what a new primary may lack; from there it is sent to it again.

        Until then it is read from the journal, as any event that waits there. Where the journal
        can't be written, the next replay sends it from memory.

        Args:
            slots: those of the new primary, of a cluster; None: all users are its.
            is_background: the background's client noticed it. What requests write meanwhile is
                kept as ever, until theirs does.
        """
        takeovers = self._takeovers[is_background]
        takeovers.n_changes += 1
        takeovers.n_under_way += 1
        recent = self._take_recent(slots)
        try:
            if recent:
                await self._journal.append(recent)
                n_events = sum(map(len, recent.values()))
                log.info(
                    "another server is the primary now: it is sent the last %d events", n_events
                )
        except OSError as error:
            log.error("the journal can't keep events for the new primary: %s", error.strerror)
            self._put_back(recent)
            self._owed.append(slots)
        finally:
            takeovers.n_changes += 1
            takeovers.n_under_way -= 1

    def _take_recent(self, slots: Collection[int] | None) -> dict[str, list[Event]]:
        return self._recent.take(slots) if self._recent is not None else {}

    def _put_back(self, by_user: UserEvents) -> None:
        if self._recent is not None:
            self._recent.add(by_user)

    def _n_changes(self, *takeovers: _Takeovers) -> int:
        return sum(one.n_changes for one in takeovers)

    def _is_another_since(self, n_changes: int, *takeovers: _Takeovers) -> bool:
        """Whether the server that acknowledged a call may not have been the primary any more.

        The new one is sent what was kept before; what comes in this moment is not among it.

        Args:
            n_changes: when the call began.
            takeovers: those that count.
        """
        is_under_way = any(one.n_under_way for one in takeovers)
        return is_under_way or self._n_changes(*takeovers) != n_changes

    async def replay(self) -> None:
        """Write journaled events to the store, but for users whose pause isn't over.

        Raises:
            StoreError: the store is away again, or rejects all writes; what is left stays in the
                journal.
        """
        while self._owed:
            recent = self._take_recent(self._owed[0])
            stay = {*recent}
            try:
                stay = await self._push_again(recent)
            finally:
                self._put_back({user_id: recent[user_id] for user_id in stay})
            if recent and stay == recent.keys():
                break  # another takeover came in between
            self._owed.pop(0)
        await self._journal.replay(self._push_again)

    async def _push_again(self, by_user: UserEvents) -> set[str]:
        """Push events of the journal; the users whose events have to stay there."""
        now = time.monotonic()
        waiting = {user for user in by_user if user in self._pauses}
        waiting = {user for user in waiting if self._pauses[user].until_s > now}
        due: UserEvents = {user: new for user, new in by_user.items() if user not in waiting}
        due = await self._without_forgotten(due) if due else due
        if not due:
            return waiting
        since = self._n_changes(*self._takeovers.values())
        failed = await self._push(due, self._background)
        if self._is_another_since(since, *self._takeovers.values()):
            return {*by_user}
        for trouble in map(trouble_in, failed.values()):
            if trouble is not None:
                raise WholeStoreError(trouble.line)
        for user_id in due.keys() - failed.keys():
            if self._pauses.pop(user_id, None):
                log.warning("events of user %r are in the store again", user_id)
        for user_id, error in failed.items():
            if not isinstance(error, StoreAway):
                self._pause(user_id, error)
        return waiting | failed.keys()

    async def _without_forgotten(self, by_user: UserEvents) -> UserEvents:
        """The events without those of users from before they were forgotten.

        Raises:
            StoreError: the store is away.
        """
        asked = [("ZSCORE", keys.FORGOTTEN, digest_of_user(user_id)) for user_id in by_user]
        found = zip(by_user.items(), await self._background.ask(*asked), strict=True)
        left: dict[str, Sequence[Event]] = {}
        for (user_id, events), at_us in found:
            if at_us is None:
                left[user_id] = events
            elif later := [one for one in events if one.timestamp > float(at_us) / 1e6]:
                left[user_id] = later
        return left

    async def _push(self, by_user: UserEvents, client: StoreClient) -> dict[str, Exception]:
        """Append events; the users whose events were not taken, and why. Repeats do no harm.

        Raises:
            StoreError: the store can't be used; not all are known to have been written.
        """
        arrival_us = time.time_ns() // 1000
        failed: dict[str, Exception] = {}
        for some in _batches(by_user):
            members = {
                user: encode_all_arrived(events, arrival_us) for user, events in some.items()
            }
            commands = [
                append_command(user, events, members[user], self._sessions.ttl_of(user))
                for user, events in some.items()
            ]
            if self._logged_entries:
                commands += [
                    log_command(user, entry, self._logged_entries)
                    for user, entry in members.items()
                ]
            replies = await client.call_script(LOAD, commands)
            for user, reply in zip(cycle(some), replies):
                if isinstance(reply, Exception):
                    failed.setdefault(user, reply)
        if self._recent is not None:
            self._recent.add({user: by_user[user] for user in by_user if user not in failed})
        return failed

    def _note(self, by_user: UserEvents, failed: Mapping[str, Exception]) -> None:
        """Record a rejection: by the store as a whole, or for single users."""
        for trouble in map(trouble_in, failed.values()):
            if trouble is not None:
                self._state.set(self._state.reads, trouble)
                return
        if len(failed) < len(by_user) and self._state.writes is not None:
            self._state.writes_work()
        for user_id, error in failed.items():
            if user_id not in self._pauses and not isinstance(error, StoreAway):
                self._pause(user_id, error)
        for user_id in self._pauses.keys() & by_user.keys() - failed.keys():
            self._pauses[user_id].until_s = 0.0  # events in the journal can follow at once

    def _pause(self, user_id: str, error: Exception) -> None:
        pause = self._pauses.get(user_id)
        if pause is None:
            pause = self._pauses[user_id] = _Pause(FIRST_PAUSE_S, 0.0)
            log.error("events of user %r wait in the journal: %s", user_id, explain(str(error)))
        else:
            pause.seconds = min(2 * pause.seconds, LONGEST_PAUSE_S)
        pause.until_s = time.monotonic() + pause.seconds


def _batches(by_user: UserEvents) -> Iterator[UserEvents]:
    """What is written in one round trip each."""
    batch: dict[str, Sequence[Event]] = {}
    n_events = 0
    for user_id, events in by_user.items():
        if batch and (len(batch) == USERS_AT_ONCE or n_events + len(events) > EVENTS_AT_ONCE):
            yield batch
            batch, n_events = {}, 0
        batch[user_id] = events
        n_events += len(events)
    if batch:
        yield batch
