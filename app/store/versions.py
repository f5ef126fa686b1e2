"""Versions in the store: those that answer, the fresh items of each, and changes of items.

Read in the background, over a connection of its own and with limits of its own, so that it neither
waits for requests nor delays them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.store.client import StoreClient
from model_store import keys
from model_store.deployments import Deployments, DeploymentsReader
from model_store.preparation import Preparing, read_preparing
from model_store.workers import WorkerState, farewell_commands, report_commands

# Large replies are read in pieces, each with the client's whole limit.
ITEMS_AT_ONCE = 200


@dataclass(frozen=True)
class FreshIds:
    """Ids of fresh items to be read, and the number of entries of their list up to the last one."""

    ids: list[bytes]
    n_read: int


@dataclass(frozen=True)
class StoredItem:
    """A fresh item as stored, not decoded: its id, vector, attributes (JSON) and text (JSON)."""

    item_id: bytes
    vector: bytes | None
    attributes: bytes | None
    knowledge: bytes | None


@dataclass(frozen=True)
class StoredState:
    """What was said of an item as stored, not decoded, and the number of its newest change."""

    item_id: bytes
    state: bytes | None
    number: int = 0


@dataclass(frozen=True)
class Followed:
    """What workers follow: the deployment records, and versions that they are to load beside."""

    deployments: Deployments
    preparing: Preparing | None

    @property
    def versions(self) -> set[str]:
        """All of them."""
        return {*self.deployments.versions, *(self.preparing.versions if self.preparing else ())}


class VersionStore:
    """Published versions and their fresh items.

    All methods raise StoreAway when the store can't be reached, StoreError when it rejects a
    command.
    """

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._reader = DeploymentsReader()
        self._replies: list[Any] = []
        self._followed: Followed | None = None

    async def followed(self) -> Followed:
        """The deployment records, and the versions that a rollout wants loaded.

        Where the store holds no record, the default's is one without an active version. As long as
        the store holds the same, the object is the same, too.
        """
        replies = await self._client.ask(
            ("GET", keys.DEPLOYMENT),
            ("GET", keys.ACTIVE),
            ("GET", keys.PREPARING),
            ("HGETALL", keys.DEPLOYMENTS),
        )
        if self._followed is None or replies != self._replies:
            document, active, preparing, fields = replies
            named = dict(zip(fields[::2], fields[1::2], strict=True))
            deployments = self._reader.read(document, active, [], named)
            self._followed = Followed(deployments, read_preparing(preparing))
            self._replies = replies
        return self._followed

    async def report(self, state: WorkerState) -> None:
        """Write what this worker answers with; it expires soon unless it is written again."""
        await self._client.ask(*report_commands(state))

    async def leave(self, worker_id: str) -> None:
        """Remove a worker's state, at its end."""
        await self._client.ask(*farewell_commands(worker_id))

    async def fresh_ids(
        self, version: str, n_read: int = 0, last_read: bytes | None = None
    ) -> FreshIds:
        """A version's fresh items in order of arrival, without those that were read.

        Args:
            version: whose they are.
            n_read: number of entries that were read.
            last_read: the last of them. Where it isn't in its place the store was emptied or
                restored, and the list is read from its beginning.
        """
        key = keys.fresh_key(version)
        [ids] = await self._client.ask(("LRANGE", key, max(n_read - 1, 0), -1))
        if n_read and ids[:1] == [last_read]:
            return FreshIds(ids[1:], n_read + len(ids) - 1)
        if n_read:
            [ids] = await self._client.ask(("LRANGE", key, 0, -1))
        return FreshIds(ids, len(ids))

    async def fresh_items(self, version: str, ids: Sequence[bytes]) -> list[StoredItem]:
        """Vectors, attributes and texts of fresh items, in the order of their ids."""
        items: list[StoredItem] = []
        for start in range(0, len(ids), ITEMS_AT_ONCE):
            some = ids[start : start + ITEMS_AT_ONCE]
            found = await self._client.ask(
                ("HMGET", keys.vectors_key(version), *some),
                ("HMGET", keys.attributes_key(version), *some),
                ("HMGET", keys.knowledge_key(version), *some),
            )
            items += map(StoredItem, some, *found)
        return items

    async def item_changes(self, after: int = 0) -> list[StoredState]:
        """Items that were changed after the change of that number, the oldest changes first.

        At most ITEMS_AT_ONCE; where there are as many, there may be more.
        """
        [found] = await self._client.ask(
            (
                *("ZRANGEBYSCORE", keys.ITEM_CHANGES, f"({after}", "+inf"),
                *("WITHSCORES", "LIMIT", 0, ITEMS_AT_ONCE),
            )
        )
        if not found:
            return []
        states = await self.item_states(found[::2])
        return [
            StoredState(state.item_id, state.state, int(float(number)))
            for state, number in zip(states, found[1::2], strict=True)
        ]

    async def item_states(self, ids: Sequence[bytes]) -> list[StoredState]:
        """What was said of items, in the order of their ids; at most ITEMS_AT_ONCE."""
        [states] = await self._client.ask(("HMGET", keys.ITEM_STATES, *ids))
        return [*map(StoredState, ids, states)]
