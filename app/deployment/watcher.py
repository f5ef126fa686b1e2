"""Follows the store: the deployment record, fresh and changed items, events to replay.

Through the store all workers and the command line agree. Each of these is a task of its own: a
large bundle that is being loaded, or a store that takes no writes, delays no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.deployment.models import Models
from app.deployment.repeating import Repeating
from app.deployment.worker_report import WorkerReport
from app.store.store import Store
from app.store.versions import Followed
from model_store.errors import StoreError
from model_store.workers import REPORT_S

LEAVE_S = 0.5
ROLLOUT_PAUSE_S = 0.02
"""Between two looks at the record during a rollout: by so much may workers swap apart."""


class Watcher:
    """The service's tasks on the store, each repeated as long as the service runs."""

    def __init__(
        self, models: Models, store: Store, report: WorkerReport, interval_s: float
    ) -> None:
        self._models = models
        self._store = store
        self._report = report
        self._interval_s = interval_s
        self._n_hurries = 0
        self._done: Followed | None = None
        self._done_until_s = 0.0

        def task(
            what: str, action: object, pause_s: float = interval_s, rest_s: float = 0.0
        ) -> Repeating:
            return Repeating(what, action, pause_s, store.is_known, rest_s)  # type: ignore[arg-type]

        self._item_changes = task(
            "reading changes of items", models.follow_item_changes, rest_s=interval_s / 2
        )
        self._following = task("following the deployment record", self.follow)
        self._tasks = [
            self._following,
            task("reading fresh items", self.read_fresh_items),
            self._item_changes,
            task("replaying the journal", store.events.replay),
            task("checking the store", self.check_store),
        ]
        self._reporting = task("reporting to other workers", self._report.send, REPORT_S)

    async def look(self) -> None:
        """One round of all tasks, so that the first request finds everything loaded."""
        await asyncio.gather(*(task.run_once() for task in self._tasks))

    def start(self) -> None:
        """Begin to watch."""
        for task in (*self._tasks, self._reporting):
            task.start()

    async def stop(self) -> None:
        """End watching."""
        await asyncio.gather(*(task.stop() for task in (*self._tasks, self._reporting)))
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._report.leave()

    def items_changed(self) -> None:
        """Read the changes of items now: this process has just made some."""
        self._item_changes.wake()

    @asynccontextmanager
    async def hurrying(self) -> AsyncIterator[None]:
        """Look at the record often within: this process is changing it."""
        # Who rolls out waits for the workers that have reported. This one's report is lost where
        # the store was emptied, and expires while the process pauses.
        with contextlib.suppress(StoreError):  # the change will meet it as well, and say so
            await self._report.send()
        self._n_hurries += 1
        self._following.wake()
        try:
            yield
        finally:
            self._n_hurries -= 1

    async def follow(self) -> float | None:
        """Load what the record and rollouts want, and answer as the record says.

        Returns:
            The pause until the next look, where it is not the usual one.

        Raises:
            StoreError: the store can't be read.
        """
        models, versions = self._models, self._store.versions
        try:
            while True:
                is_due = time.monotonic() >= self._done_until_s
                if is_due:
                    # Before the record is read: who rolls out a version waits for all that answer.
                    await self._tell()
                followed = await versions.followed()
                if followed is self._done and not is_due:
                    return self._pause_after(followed)
                self._done_until_s = 0.0  # whatever is done now is told before the next look
                if not await models.route(followed) and not await models.load_next(followed):
                    break
        except StoreError:
            if models.is_lacking(None):
                await models.fall_back(None)
            raise
        if models.is_lacking(followed.deployments):
            await models.fall_back(followed.deployments)
        elif followed.versions <= set(models.loaded):
            # During rollouts, most looks need find no more than that nothing has changed.
            self._done, self._done_until_s = followed, time.monotonic() + self._interval_s
        await self._tell()
        return self._pause_after(followed)

    def _pause_after(self, followed: Followed) -> float | None:
        return ROLLOUT_PAUSE_S if followed.preparing or self._n_hurries else None

    async def _tell(self) -> None:
        # A store that takes no writes is followed as well; the task that reports will log it.
        with contextlib.suppress(StoreError):
            await self._report.send_changes()

    async def check_store(self) -> None:
        """Check whether the store can be read and written, and holds the serving version."""
        versions = {model.version for model in self._models.routings.models}
        self._store.state.keep_only(versions)
        await self._store.check(versions)

    async def read_fresh_items(self) -> None:
        """Add the fresh items that came since the last round.

        Raises:
            StoreError: the store can't be read.
        """
        for model in self._models.routings.all_models:
            fresh = await self._store.versions.fresh_ids(
                model.version, model.n_fresh_read, model.last_fresh_read
            )
            if fresh.ids:
                await self._models.add_fresh_items(model, fresh)
