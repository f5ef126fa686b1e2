"""Follows the store: the active version, fresh items, events to replay.

Through the store all workers and the command line agree. Each of these is a task of its own: a
large bundle that is being loaded, or a store that takes no writes, delays no other.
"""

from __future__ import annotations

import asyncio

from app.deployment.models import Models
from app.deployment.repeating import Repeating
from app.store.store import Store
from model_store.errors import StoreError


class Watcher:
    """The service's tasks on the store, each repeated as long as the service runs."""

    def __init__(self, models: Models, store: Store, interval_s: float) -> None:
        self._models = models
        self._store = store
        self._tasks = [
            Repeating(what, action, interval_s, store.is_known)
            for what, action in (
                ("following the active version", self.follow_version),
                ("reading fresh items", self.read_fresh_items),
                ("replaying the journal", store.events.replay),
                ("checking the store", self.check_store),
            )
        ]

    async def look(self) -> None:
        """One round of all tasks, so that the first request finds everything loaded."""
        await asyncio.gather(*(task.run_once() for task in self._tasks))

    def start(self) -> None:
        """Begin to watch."""
        for task in self._tasks:
            task.start()

    async def stop(self) -> None:
        """End watching."""
        await asyncio.gather(*(task.stop() for task in self._tasks))

    async def follow_version(self) -> None:
        """Swap to the active version.

        Raises:
            StoreError: the store can't be read.
        """
        try:
            deployment = await self._store.versions.deployment()
        except StoreError:
            if self._models.current is None:
                await self._models.follow(None)
            raise
        await self._models.follow(deployment)

    async def check_store(self) -> None:
        """Check whether the store can be read and written, and holds the serving version."""
        model = self._models.current
        await self._store.check(model.version if model else None)

    async def read_fresh_items(self) -> None:
        """Add the fresh items that came since the last round.

        Raises:
            StoreError: the store can't be read.
        """
        model = self._models.current
        if model is None:
            return
        new_ids = await self._store.versions.fresh_ids(model.version, model.n_fresh_read)
        if new_ids and self._models.current is model:
            await self._models.add_fresh_items(model, new_ids)
