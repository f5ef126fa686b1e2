"""What the workers counted of a canary and of the active version, summed over all of them."""

from __future__ import annotations

from collections.abc import Sequence

from app.store.client import StoreClient
from model_store import keys

EXPIRY_S = 24 * 3600


class OutcomeStore:
    """Counts by epoch of a canary and by worker, as JSON.

    All methods raise StoreAway when the store can't be reached, StoreError when it rejects a
    command.
    """

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def write(self, epoch: str, worker_id: str, counts: str) -> Sequence[bytes]:
        """Write this worker's counts; returns those of all workers, ended ones among them."""
        key = keys.outcomes_key(epoch)
        *_, found = await self._client.ask(
            ("HSET", key, worker_id, counts), ("EXPIRE", key, EXPIRY_S), ("HVALS", key)
        )
        return tuple(found)

    async def read(self, epoch: str) -> Sequence[bytes]:
        """The counts of all workers."""
        [found] = await self._client.ask(("HVALS", keys.outcomes_key(epoch)))
        return tuple(found)
