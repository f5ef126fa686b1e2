"""What was counted in an experiment or under a name, written in batches; read by arm, version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from app.experiments.moments import Moments
from app.store.client import StoreClient
from app.store.connection import Command, WholeStoreError
from app.store.state import trouble_in
from model_store.error_replies import explain
from model_store.experiment_counts import LOAD, Scope
from model_store.experiment_sums import (
    Shards,
    group_of,
    read_commands,
    shards_commands,
    shards_of,
    sums_of,
)


@dataclass(frozen=True)
class VersionCounts:
    """What was counted by version.

    Attributes:
        since_s: unix seconds of the first count; None: nothing was counted.
        moments: by arm and version, of those pairs that answered anybody; users of clicks alone
            are in none.
    """

    since_s: int | None
    moments: dict[tuple[str, str], Moments]


class ExperimentStore:
    """Counts of experiments.

    All methods raise StoreAway when the store can't be reached.
    """

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def write(self, commands: Sequence[Command]) -> dict[int, str]:
        """Count batches; those that were counted already change nothing.

        Args:
            commands: of `experiment_counts.count_command`.

        Returns:
            Why single ones were rejected for good, by their position.

        Raises:
            WholeStoreError: the store takes no writes; some may have been counted.
        """
        replies = await self._client.call_script(LOAD, commands)
        for reply in replies:
            if trouble := trouble_in(reply):
                raise WholeStoreError(trouble.line)
        return {
            place: explain(str(reply))
            for place, reply in enumerate(replies)
            if isinstance(reply, Exception)
        }

    async def read(self, name: str, arms: Sequence[str]) -> dict[str, Moments]:
        """The sums of all users by arm.

        Raises:
            StoreError: they can't be read.
        """
        return moments_of(arms, await self._client.ask(*read_commands(name, arms)))

    async def read_versions(self, scope: Scope, arms: Sequence[str]) -> VersionCounts:
        """The sums of all users by arm and version.

        Raises:
            StoreError: they can't be read.
        """
        shards = shards_of(scope, await self._client.ask(*shards_commands(scope.name)))
        commands = version_commands(scope, arms, shards)
        replies = await self._client.ask(*commands) if commands else []
        return version_counts_of(arms, shards, replies)


def moments_of(
    arms: Sequence[str], replies: Iterable[Sequence[bytes | None]]
) -> dict[str, Moments]:
    """The sums of all users by arm, of the replies to `experiment_sums.read_commands`.

    Raises:
        StoreError: they are damaged.
    """
    shards = [sums_of(arms, reply) for reply in replies]
    return {
        arm: reduce(add, (Moments.from_counts(shard[arm]) for shard in shards), Moments())
        for arm in arms
    }


def version_commands(scope: Scope, arms: Sequence[str], shards: Shards) -> list[Command]:
    """Read the sums of arms and versions; the replies are for `version_counts_of`."""
    groups = [group_of(arm, version) for arm in arms for version in shards.versions]
    return read_commands(scope.name, groups, shards.numbers) if groups else []


def version_counts_of(
    arms: Sequence[str], shards: Shards, replies: Iterable[Sequence[bytes | None]]
) -> VersionCounts:
    """The sums of all users by arm and version.

    Raises:
        StoreError: they are damaged.
    """
    pairs = {group_of(arm, one): (arm, one) for arm in arms for one in shards.versions}
    found = moments_of(list(pairs), replies)
    moments = {pairs[group]: sums for group, sums in found.items() if sums.users}
    return VersionCounts(shards.since_s, moments)
