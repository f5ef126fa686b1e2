"""The model that answers: that of the deployment record, or the last good one."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from app.deployment.fresh_items import with_fresh_items, with_stored_items
from app.deployment.last_active import LastActive
from app.deployment.loading import load_version
from app.deployment.rejections import Rejections
from app.model.allocator import large_blocks_mapped
from app.model.background import BackgroundThread, gc_paused
from app.model.inference import Provider
from app.model.model import Model
from app.store.versions import VersionStore
from app.telemetry.metrics import Metrics
from model_store.deployment import Deployment
from model_store.errors import BundleError, RegistryError, StoreError
from model_store.registry import ModelRecord, Registry
from model_store.store import connect
from model_store.store_url import StoreUrl

log = logging.getLogger(__name__)

GC_THRESHOLDS = (50_000, 20, 100)
STOP_TIMEOUT_S = 0.5
T = TypeVar("T")


class Models:
    """Holds the current model, and changes it; the only place where that happens.

    Readers take `current` once, without a lock. Changes are made one after another.
    """

    def __init__(
        self,
        url: StoreUrl,
        versions: VersionStore,
        metrics: Metrics,
        *,
        bundles_dir: Path,
        provider: Provider,
    ) -> None:
        self.current: Model | None = None
        self.loading: str | None = None
        self._rejections = Rejections()
        self._bundles_dir = bundles_dir
        self._last_active = LastActive(bundles_dir)
        self._provider = provider
        self._client = connect(url)
        self._registry = Registry(self._client, "admin API")
        self._versions = versions
        self._metrics = metrics
        self._changing = asyncio.Lock()
        # Before the first model is loaded, no request needs the CPU.
        self._first_loads = BackgroundThread("first load", yields=False)
        self._loads = BackgroundThread("load", yields=True)

    def reconnect(self) -> None:
        """Ask the registry over new connections: the store's name may mean another server now."""
        self._client.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Stop loading; work that can't stop at once ends with the process."""
        self._first_loads.stop(STOP_TIMEOUT_S)
        self._loads.stop(STOP_TIMEOUT_S)

    # --- state -----------------------------------------------------------

    @property
    def rejected(self) -> dict[str, str]:
        """Versions that should answer and can't be loaded, with the reason."""
        return self._rejections.reasons

    async def records(self) -> tuple[str | None, list[ModelRecord]]:
        """The active version and all published ones.

        Raises:
            StoreAway: the registry can't be reached.
        """
        return await asyncio.to_thread(lambda: (self._registry.active(), self._registry.records()))

    # --- commands of operators ----------------------------------------------------------

    async def activate(self, version: str) -> str | None:
        """Load a version, check it, make it the active one and swap to it.

        Returns:
            The version that was active before.

        Raises:
            RegistryError: the version isn't published.
            BundleError: it failed a check; the current model stays.
            StoreAway: the registry can't be reached; the current model stays.
        """
        await asyncio.to_thread(self._registry.get, version)
        async with self._changing:
            return await self._load_and_swap(
                version, lambda: asyncio.to_thread(self._registry.activate, version)
            )

    async def rollback(self) -> tuple[str, str | None]:
        """Activate the version that was active before; returns it and the replaced one.

        Raises:
            RegistryError: nothing was active before.
            BundleError: that version failed a check; the current model stays.
            StoreAway: the registry can't be reached; the current model stays.
        """
        left, version = await asyncio.to_thread(self._look_back)
        async with self._changing:
            await self._load_and_swap(
                version, lambda: asyncio.to_thread(self._registry.rollback, version)
            )
        return version, left

    def _look_back(self) -> tuple[str | None, str]:
        """The active version and the one before."""
        deployment = self._registry.deployment()
        published = [record.version for record in self._registry.records()]
        before = deployment.rolling_back(published)
        if before is None or before.active is None:
            raise RegistryError("there is no earlier version to roll back to")
        return deployment.active, before.active

    # --- calls of the watcher -------------------------------------------------------

    async def follow(self, deployment: Deployment | None) -> None:
        """Serve the active version; while no model is loaded at all, the last good one.

        A version that fails to load is logged once and kept in `rejected`; the current model stays.

        Args:
            deployment: the record; None if the store can't be read.
        """
        wanted = deployment.active if deployment else None
        if wanted is not None:
            await self._try(wanted, is_active=True)
        if self.current is None:
            await self._fall_back(deployment or Deployment())
        elif wanted is not None:
            self._rejections.keep_only({wanted} - {self.current.version})

    async def _fall_back(self, deployment: Deployment) -> None:
        """Serve the version that answered last here; the operator's choice stays in the record."""
        last = await asyncio.to_thread(self._last_active.read)
        for version in dict.fromkeys(filter(None, (last, *deployment.previous))):
            if version != deployment.active and await self._try(version, is_active=False):
                log.warning("going on with version %s, which answered before", version)
                return

    async def _try(self, version: str, *, is_active: bool) -> bool:
        """Swap to a version if it can be loaded, and if an active one is still active then."""
        if self.current is not None and self.current.version == version:
            return True
        if not await self._rejections.permit(version):
            return False
        try:
            async with self._changing:
                # While this waited an operator may have activated another one: without a second
                # look the service would go back and forth between the two.
                if is_active and not await self._is_active(version):
                    return False
                await self._load_and_swap(version, None)
        except BundleError as error:
            folder = await asyncio.to_thread(self._folder_of, version)
            if self._rejections.add(version, error, folder):
                log.error("version %s can't be loaded: %s", version, error)
            return False
        return True

    async def add_fresh_items(self, model: Model, new_ids: list[bytes]) -> None:
        """Swap to the current model with fresh items, unless another was activated meanwhile.

        Raises:
            StoreError: the store can't be read.
        """
        # Read before taking the lock: a slow store delays no other change.
        found = await self._versions.fresh_items(model.version, new_ids)
        async with self._changing:
            if self.current is not model:
                return
            with gc_paused(), large_blocks_mapped():
                grown = await with_fresh_items(model, found, self._loads)
            self._swap(grown)
            log.info("version %s has %d fresh items now", grown.version, grown.n_fresh)

    # --- implementation ----------------------------------------------------------

    async def _load_and_swap(
        self, version: str, record: Callable[[], Awaitable[T]] | None
    ) -> T | None:
        """Load, perhaps record, and swap; the caller holds the lock."""
        model = self.current
        if model is None or model.version != version:
            self.loading = version
            try:
                with gc_paused(), large_blocks_mapped():
                    model = await self._load(version)
            finally:
                self.loading = None
        result = await record() if record else None
        self._rejections.forget(version)
        if model is not self.current:
            # Before it answers: a version that has answered will answer again after a restart.
            await asyncio.to_thread(self._last_active.write, version)
            self._swap(model)
        return result

    async def _is_active(self, version: str) -> bool:
        try:
            return (await self._versions.deployment()).active == version
        except StoreError:
            return True  # as far as is known

    async def _load(self, version: str) -> Model:
        folder = await asyncio.to_thread(self._folder_of, version)
        thread = self._loads if self.current else self._first_loads
        model = await thread.run(lambda: load_version(folder, version, self._provider))
        try:
            return await with_stored_items(model, self._versions, thread)
        except StoreError:
            return model  # the watcher adds them when the store is back

    def _swap(self, model: Model) -> None:
        previous = self.current
        self.current = model
        # The loaded model lives long: the garbage collector need not walk it during requests.
        gc.freeze()
        # Nor look for cycles after every 700 objects: a request creates some and leaves none.
        gc.set_threshold(*GC_THRESHOLDS)
        if previous is None or previous.version != model.version:
            self._metrics.swaps.inc()
            self._metrics.model.labels(model.version).set(1)
            if previous is not None:
                self._metrics.model.labels(previous.version).set(0)
            log.info("version %s answers from now on", model.version)
        self._metrics.items.labels("all").set(len(model.ids))
        self._metrics.items.labels("fresh").set(model.n_fresh)

    def _folder_of(self, version: str) -> Path:
        folder = self._bundles_dir / version
        if folder.is_dir():
            return folder
        try:
            return Path(self._registry.get(version).bundle)
        except (RegistryError, StoreError):
            return folder
