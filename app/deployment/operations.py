"""What operators ask a running service for: changes of who answers, and how things stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.deployment.watcher import Watcher
from app.model.background import BackgroundThread
from model_store.deployment import Deployment
from model_store.deployments import DEFAULT, Deployments
from model_store.item_changes import ItemChange, write_changes
from model_store.model_record import ModelRecord
from model_store.people import Forgotten, forget
from model_store.registry import Registry
from model_store.remote_bundles import Bundles
from model_store.rollout import Rollout, Ruled
from model_store.rules import Rule
from model_store.store import connect, disconnect
from model_store.store_url import StoreUrl
from model_store.workers import WorkerState, live_workers

WHY = "admin API"
MAX_THREADS = 4
T = TypeVar("T")


class Operations:
    """Rollouts through the store, in which this process takes part like any other.

    All methods raise StoreAway when the store can't be reached, and else what those of
    `model_store.rollout.Rollout` do. `by` is the operator, for the audit.

    Args:
        url: of the store.
        bundles_dir: where published bundles are.
    """

    def __init__(self, url: StoreUrl, bundles_dir: Bundles) -> None:
        self._client = connect(url)
        self._bundles_dir = bundles_dir
        self.registry = Registry(self._client)
        self.watcher: Watcher | None = None
        # Not those of requests: a store that hangs holds each of them for a quarter of a minute.
        self._threads = ThreadPoolExecutor(MAX_THREADS, "operations")

    def close(self) -> None:
        """Close all connections but that of a rollout at work, and wait for nothing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.disconnect()

    def disconnect(self) -> None:
        """Close all connections but that of a rollout at work; the next question opens another."""
        disconnect(self._client)

    async def change(
        self,
        work: Callable[[Rollout], T],
        *,
        by: str,
        model: str = DEFAULT,
        seen: int | None = None,
    ) -> T:
        """Have a rollout change who answers the requests of a name.

        It is done in a thread that the end of the process doesn't wait for, as it may take minutes.

        Args:
            work: calls one of the rollout's methods.
            by: the operator.
            model: the name.
            seen: generation of its record that the operator decided on; None: any.
        """
        assert self.watcher is not None  # noqa: S101 - there from the first request on
        rollout = Rollout(self._client, self._bundles_dir, WHY, by=by, model=model, seen=seen)
        thread = BackgroundThread("rollout", yields=False)
        try:
            async with self.watcher.hurrying():
                return await thread.run(lambda: work(rollout))
        finally:
            thread.stop(0)

    async def change_items(self, changes: Sequence[ItemChange]) -> int:
        """Keep changes of items; see `model_store.item_changes.write_changes`."""
        assert self.watcher is not None  # noqa: S101 - there from the first request on
        n_changed = await self._run(lambda: write_changes(changes, self._client))
        self.watcher.items_changed()
        return n_changed

    async def forget(self, user_id: str) -> Forgotten:
        """Remove a person from the store; see `model_store.people.forget`."""
        return await self._run(lambda: forget(user_id, self._client))

    async def set_rules(self, rules: Sequence[Rule], *, by: str) -> Ruled:
        """Replace the rules."""
        return await self.change(lambda rollout: rollout.set_rules(rules), by=by)

    async def roll_back_rules(self, *, by: str) -> Ruled:
        """Apply the rules that were in force before."""
        return await self.change(lambda rollout: rollout.roll_back_rules(), by=by)

    async def rules(self) -> Ruled:
        """The rules in force, and what they can't do."""
        return await self._run(Rollout(self._client, self._bundles_dir, WHY).rules)

    async def take_back(self, model: str, epoch: str, reason: str) -> Deployment:
        """End a name's canary that is worse, unless it was changed meanwhile (RegistryError)."""
        registry = Registry(self._client, "the canary's verdict", model=model)
        return await self._run(lambda: registry.take_back(epoch, reason))

    async def records(self) -> tuple[Deployments, list[ModelRecord]]:
        """The deployment records and all published versions."""
        return await self._run(lambda: (self.registry.deployments(), self.registry.records()))

    async def deployments(self) -> tuple[Deployments, list[WorkerState]]:
        """The deployment records, and the live workers of all services on this store."""
        return await self._run(lambda: (self.registry.deployments(), live_workers(self._client)))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
