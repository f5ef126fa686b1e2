"""What was counted in an experiment, written in batches and read by arm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

from app.experiments.moments import Moments
from app.store.client import StoreClient
from app.store.connection import Command, WholeStoreError
from app.store.state import trouble_in
from model_store.error_replies import explain
from model_store.experiment_counts import LOAD, read_commands, sums_of


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
        replies = await self._client.call(commands)
        if any(isinstance(reply, Exception) and "NOSCRIPT" in str(reply) for reply in replies):
            _, *replies = await self._client.call([LOAD, *commands])
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


def moments_of(
    arms: Sequence[str], replies: Iterable[Sequence[bytes | None]]
) -> dict[str, Moments]:
    """The sums of all users by arm, of the replies to `experiment_counts.read_commands`.

    Raises:
        StoreError: they are damaged.
    """
    shards = [sums_of(arms, reply) for reply in replies]
    return {
        arm: reduce(add, (Moments.from_counts(shard[arm]) for shard in shards), Moments())
        for arm in arms
    }
