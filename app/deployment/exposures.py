"""Counts what users are shown and click, by arm and version: in memory first, then in the store.

Requests only add to a dictionary. Once a second it is written to the store, where the sums of all
workers meet. While the store takes no writes, counts wait, up to a bound.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from app.experiments.moments import Moments
from app.store.connection import Command
from app.store.experiment_store import ExperimentStore, VersionCounts
from model_store.experiment import Experiment
from model_store.experiment_counts import Scope, Seen, count_command, shard_of, user_key

log = logging.getLogger(__name__)

WRITE_S = 1.0
MAX_USERS = 50_000
"""Users whose counts wait at most; a busy worker meets as many in half a minute."""
MAX_CLICKS = 100_000
# To encode as many holds the event loop for half a millisecond.
AT_ONCE = 100


class ClickEvent(Protocol):
    """An event as far as it may be a click."""

    @property
    def user_id(self) -> str:
        """Whose event it is."""

    @property
    def item_id(self) -> str:
        """The item."""

    @property
    def request_id(self) -> str | None:
        """Of the answer that it follows; None: it follows none."""


@dataclass(frozen=True, slots=True)
class _Unwritten:
    """A batch that the store hasn't answered yet, of users of one shard.

    Attributes:
        scope, shard, source: as for `count_command`.
        seen: as for `count_command`.
    """

    scope: Scope
    shard: int
    source: tuple[str, int]
    seen: list[tuple[str, str, Seen]]

    def command(self, looked_at_us: int) -> Command:
        return count_command(self.scope, self.shard, self.source, self.seen, looked_at_us)

    @property
    def n_counts(self) -> int:
        return sum(seen.exposures + len(seen.clicks) for _, _, seen in self.seen)


class Exposures:
    """Exposures and clicks of one worker, on their way to the store.

    Args:
        store: where they are counted.
        worker_id: of this worker.
        on_lost: called with the number of counts that are lost.
    """

    def __init__(
        self, store: ExperimentStore, worker_id: str, on_lost: Callable[[int], object]
    ) -> None:
        self._store = store
        self._worker_id = worker_id
        self._on_lost = on_lost
        # By scope, arm and user.
        self._seen: dict[tuple[Scope, str, str], Seen] = {}
        self._n_clicks = 0
        self._batch = 0
        self._unwritten: list[_Unwritten] = []
        self._writing = asyncio.Lock()
        self._logged = ""

    def note_shown(self, scope: Scope, arm: str, answer: Mapping[str, Any]) -> None:
        """Count an answer; one to nobody in particular can't be clicked, and isn't counted.

        Args:
            scope: to count it in.
            arm: of its user; empty: none.
            answer: complete with its request_id.
        """
        user_id: str | None = answer["user_id"]
        if user_id is not None:
            seen = self._seen_by(scope, arm, user_id)
            if seen is not None:
                seen.note(answer["model_version"], answer["request_id"])

    async def note_clicks(
        self, scope: Scope, arm_of: Callable[[str], str | None], events: Sequence[ClickEvent]
    ) -> None:
        """Count those of the events that follow an answer.

        Args:
            scope: to count them in.
            arm_of: the arm of a user; None: events of such users don't count.
            events: that may be clicks.
        """
        for place, event in enumerate(events):
            if place % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)  # others' turn
            if event.request_id is None:
                continue
            arm = arm_of(event.user_id)
            if arm is None:
                continue
            seen = None
            if self._n_clicks < MAX_CLICKS:
                seen = self._seen_by(scope, arm, event.user_id)
            else:
                self._on_lost(1)
            if seen is not None:
                seen.clicks.append((event.request_id, event.item_id))
                self._n_clicks += 1

    async def write(self, looked_at_us: int) -> None:
        """Write what was counted; what the store doesn't take now is written the next time.

        All of it is in the store when this returns, also what another call was writing; what is
        counted meanwhile is for the next call.

        Args:
            looked_at_us: whoever was forgotten until then, in unix microseconds, was dropped; the
                store leaves out those who were forgotten since.

        Raises:
            StoreError: the store can't be reached, or takes no writes.
        """
        async with self._writing:
            for _ in range(bool(self._unwritten) + math.ceil(len(self._seen) / AT_ONCE)):
                if self._unwritten or self._seen:  # not everybody was forgotten meanwhile
                    await self._write_some(looked_at_us)

    async def _write_some(self, looked_at_us: int) -> None:
        if not self._unwritten:
            self._take_some()
        # Sent again under its number where the answer doesn't come: then it is counted once.
        commands = [one.command(looked_at_us) for one in self._unwritten]
        rejected = await self._store.write(commands)
        for place, reason in rejected.items():
            self._on_lost(self._unwritten[place].n_counts)
            if reason != self._logged:
                self._logged = reason
                log.error("counts of exposures or clicks are lost: %s", reason)
        self._unwritten = []

    async def read(self, experiment: Experiment) -> dict[str, Moments]:
        """What was counted at all workers, by arm.

        Raises:
            StoreError: it can't be read.
        """
        return await self._store.read(experiment.name, [arm.name for arm in experiment.arms])

    async def read_versions(self, scope: Scope, arms: Sequence[str]) -> VersionCounts:
        """What was counted at all workers, by arm and version.

        Raises:
            StoreError: it can't be read.
        """
        return await self._store.read_versions(scope, arms)

    @property
    def user_ids(self) -> set[str]:
        """Users whose counts are not in the store yet."""
        unwritten = {user_id for one in self._unwritten for _, user_id, _ in one.seen}
        return unwritten | {user_id for _, _, user_id in self._seen}

    def drop(self, user_ids: Collection[str]) -> None:
        """Forget what users were shown and clicked that is not in the store yet."""
        for key in [key for key in self._seen if key[2] in user_ids]:
            self._n_clicks -= len(self._seen.pop(key).clicks)
        for one in self._unwritten:
            one.seen[:] = [user for user in one.seen if user[1] not in user_ids]

    def _seen_by(self, scope: Scope, arm: str, user_id: str) -> Seen | None:
        """Where to count for a user; None, and it is lost, where there is no more space."""
        key = (scope, arm, user_id)
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= MAX_USERS:
                self._on_lost(1)
                return None
            seen = self._seen[key] = Seen()
        return seen

    def _take_some(self) -> None:
        """Take some of the counts into batches, one for each shard."""
        some = list(islice(self._seen, AT_ONCE))
        by_shard: dict[tuple[Scope, int], list[tuple[str, str, Seen]]] = {}
        for scope, arm, user_id in some:
            seen, shard = self._seen.pop((scope, arm, user_id)), shard_of(user_key(user_id))
            self._n_clicks -= len(seen.clicks)
            by_shard.setdefault((scope, shard), []).append((arm, user_id, seen))
        for (scope, shard), users in by_shard.items():
            # Each has a number of its own: two periods of a name are counted in the same place.
            self._batch += 1
            source = (self._worker_id, self._batch)
            self._unwritten.append(_Unwritten(scope, shard, source, users))
