"""What this worker tells all others about itself."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Literal

from app.deployment.models import Models
from app.store.versions import VersionStore
from model_store.deployments import DEFAULT
from model_store.workers import NameState, WorkerState


class WorkerReport:
    """Writes this worker's state to the store.

    Args:
        models: of this worker.
        versions: where it is written.
    """

    def __init__(self, models: Models, versions: VersionStore) -> None:
        self._models = models
        self._versions = versions
        self._host, self._pid = socket.gethostname(), os.getpid()
        # Two containers may have the same name and process ids.
        self.worker_id = f"{self._host}:{self._pid}:{secrets.token_hex(4)}"
        self._sent: WorkerState | None = None

    def state(self) -> WorkerState:
        """The present state."""
        models = self._models
        current, routings = models.current, models.routings
        word: Literal["starting", "loading", "ready"] = "ready"
        if not len(routings):
            word = "starting"
        elif models.versions.loading is not None:
            word = "loading"
        return WorkerState(
            id=self.worker_id,
            host=self._host,
            pid=self._pid,
            version=current.version if current else None,
            generation=routings.generations.get(DEFAULT, 0),
            state=word,
            loading=models.versions.loading,
            loaded=models.loaded,
            rejected=models.versions.rejected,
            failures=models.versions.failures,
            rule_warnings=models.versions.rule_warnings,
            names={
                model: NameState(version=routings.versions.get(model), generation=generation)
                for model, generation in routings.generations.items()
                if model != DEFAULT
            },
        )

    async def send(self) -> None:
        """Write the state.

        Raises:
            StoreError: it can't be written.
        """
        state = self.state()
        await self._versions.report(state)
        self._sent = state

    async def send_changes(self) -> None:
        """Write the state if it is not the one that was written last.

        Raises:
            StoreError: it can't be written.
        """
        if self.state() != self._sent:
            await self.send()

    async def leave(self) -> None:
        """Remove the state, at the end.

        Raises:
            StoreError: it can't be removed; it will expire.
        """
        await self._versions.leave(self.worker_id)
