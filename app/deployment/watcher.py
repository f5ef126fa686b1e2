"""Looks at the store twice a second: which version is active, what is fresh, what to replay."""

from __future__ import annotations

import asyncio
import logging

from app.deployment.lifecycle import Models
from app.store.connection import Command
from app.store.feature_store import FeatureStore
from app.telemetry.metrics import Metrics
from model_store import keys
from model_store.errors import StoreError

log = logging.getLogger(__name__)


class Watcher:
    """Follows the store so that all workers, and the command line, agree without talking."""

    def __init__(
        self, models: Models, store: FeatureStore, metrics: Metrics, interval_s: float
    ) -> None:
        self._models = models
        self._store = store
        self._metrics = metrics
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """End watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except StoreError as error:
                log.debug("the watcher saw nothing: %s", error)
            except Exception:
                # A watcher that ends leaves the service blind; whatever it was, look again.
                log.exception("the watcher failed and goes on")
            self._metrics.store_up.set(self._store.is_up)
            await asyncio.sleep(self._interval_s)

    async def look(self) -> None:
        """One round trip, then whatever follows from it.

        Raises:
            StoreError: the store can't be read.
        """
        model = self._models.current
        commands: list[Command] = [("GET", keys.ACTIVE)]
        if model is not None:
            commands.append(("LRANGE", keys.fresh_key(model.version), model.n_fresh_read, -1))
        active, *fresh = await self._store.call(commands)
        await self._store.replay_journal()
        if active is not None:
            await self._models.follow(active.decode())
        if model is not None and fresh[0] and self._models.current is model:
            await self._models.add_fresh_items(model, fresh[0])
