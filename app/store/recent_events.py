"""Events that a primary has acknowledged lately, for the server that may take its place.

Replication is asynchronous: a replica that becomes the primary can lack what the primary before it
acknowledged last. Whoever sent that still has it here, and sends it again; the store ignores what
it has.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from app.store.state import StoreState
from model_store import keys
from model_store.codecs import Event
from model_store.event_log import log_key_of

KEPT_S = 60.0
MAX_KEPT = 20_000
"""Events of a worker; the oldest go. 20,000 are about ten megabytes."""

Takeover: TypeAlias = Callable[[Collection[int] | None], Awaitable[None]]
"""Is called with the slots that another server has now; None: all keys."""


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    at_s: float
    user_id: str
    events: Sequence[Event]


class RecentEvents:
    """The events of the last minute; while a server is away, of the last minute before.

    Args:
        state: of the store, whether it takes writes.
    """

    def __init__(self, state: StoreState) -> None:
        self._state = state
        self._kept: deque[_Acknowledged] = deque()
        self._n_events = 0

    def add(self, by_user: Mapping[str, Sequence[Event]]) -> None:
        """Keep events that the store has taken."""
        now_s = time.monotonic()
        for user_id, events in by_user.items():
            self._kept.append(_Acknowledged(now_s, user_id, events))
            self._n_events += len(events)
        is_well = self._state.writes is None
        while self._n_events > MAX_KEPT or (
            is_well and self._kept and self._kept[0].at_s < now_s - KEPT_S
        ):
            self._n_events -= len(self._kept.popleft().events)

    def take(self, slots: Collection[int] | None) -> dict[str, list[Event]]:
        """Remove the events that lie in these slots (None: all) and return them, oldest first.

        An event lies in two: its user's, and that of the stream of the event log.
        """

        def is_taken(user_id: str) -> bool:
            return slots is None or not slots_of(user_id).isdisjoint(slots)

        found: dict[str, list[Event]] = {}
        for one in self._keep_unless(is_taken):
            found.setdefault(one.user_id, []).extend(one.events)
        return found

    @property
    def user_ids(self) -> set[str]:
        """The users whose events are kept."""
        return {one.user_id for one in self._kept}

    def drop(self, user_ids: Collection[str]) -> None:
        """Forget users."""
        self._keep_unless(lambda user_id: user_id in user_ids)

    def _keep_unless(self, is_taken: Callable[[str], bool]) -> list[_Acknowledged]:
        """Remove what belongs to some users; returns that."""
        taken = [one for one in self._kept if is_taken(one.user_id)]
        if taken:
            gone = {id(one) for one in taken}
            self._kept = deque(one for one in self._kept if id(one) not in gone)
            self._n_events = sum(len(one.events) for one in self._kept)
        return taken


def slots_of(user_id: str) -> set[int]:
    """The slots of a cluster that a user's events are written to."""
    return {keys.slot_of_user(user_id), keys.in_cluster(log_key_of(user_id))[1]}
