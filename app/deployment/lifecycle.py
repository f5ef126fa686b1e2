"""Which model answers: loading beside, checking, and the atomic flip."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from app.deployment.fresh_items import with_fresh_items
from app.deployment.loading import load_version
from app.model.background import gc_paused, run_background
from app.model.inference import Provider
from app.model.model import Model
from app.store.versions import VersionStore
from app.telemetry.metrics import Metrics
from model_store.errors import LongtailError, RegistryError, StoreError
from model_store.files import write_atomically
from model_store.registry import ModelRecord, Registry
from model_store.store import connect
from model_store.store_url import StoreUrl

log = logging.getLogger(__name__)

GC_THRESHOLDS = (50_000, 20, 100)
ACTIVE_FILE = "active.json"
T = TypeVar("T")


class Models:
    """Holds the current model, and changes it; the only place where that happens.

    Readers take `current` once; nothing is locked for them. Changes go one after another.
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
        self.rejected: dict[str, str] = {}
        self.loading: str | None = None
        self._bundles_dir = bundles_dir
        self._provider = provider
        self._registry = Registry(connect(url))
        self._versions = versions
        self._metrics = metrics
        self._changing = asyncio.Lock()

    # --- what operators ask for ----------------------------------------------------------

    async def activate(self, version: str) -> str | None:
        """Load a version beside the current one, check it, make it the active one, flip.

        Returns:
            The version that was active before.

        Raises:
            RegistryError: the version isn't published.
            BundleError: it failed a check; the current model stays.
            StoreAway: the registry can't be reached; the current model stays.
        """
        await asyncio.to_thread(self._registry.get, version)
        async with self._changing:
            return await self._load_and_swap(version, lambda: self._in_registry(version))

    async def rollback(self) -> tuple[str, str | None]:
        """Back to the version that was active before; answers it and the one that was left.

        Raises:
            RegistryError: nothing was active before.
            BundleError: that version failed a check; the current model stays.
            StoreAway: the registry can't be reached; the current model stays.
        """
        version = await asyncio.to_thread(self._registry.previous)
        if version is None:
            raise RegistryError("there is no earlier version to roll back to")
        left = self.current.version if self.current else None

        async def record() -> None:
            rolled_to = await asyncio.to_thread(self._registry.rollback)
            if rolled_to != version:
                raise RegistryError(f"{rolled_to} was activated meanwhile; look before going on")

        async with self._changing:
            await self._load_and_swap(version, record)
        return version, left

    async def records(self) -> tuple[str | None, list[ModelRecord]]:
        """The active version and all published ones.

        Raises:
            StoreAway: the registry can't be reached.
        """
        return await asyncio.to_thread(lambda: (self._registry.active(), self._registry.records()))

    # --- what the watcher and the start ask for ------------------------------------------

    async def start(self) -> None:
        """Load the active version; if it isn't known or usable, the one that answered last."""
        try:
            version = await asyncio.to_thread(self._registry.active)
        except StoreError as error:
            version = self._last_active()
            log.warning("%s; going on with the last active version, %s", error, version or "none")
        if version is None:
            log.warning("no version is active; `longtail models activate VERSION` makes one so")
            return
        await self.follow(version)
        if self.current is None:
            await self._fall_back()

    async def _fall_back(self) -> None:
        """Take the version that answered last here; the operator's choice stays in the registry."""
        version = self._last_active()
        if version is None or version in self.rejected:
            return
        try:
            async with self._changing:
                await self._load_and_swap(version, None)
        except LongtailError as error:
            log.error("version %s, which answered last, can't be loaded: %s", version, error)
        else:
            log.warning("going on with version %s, which answered last", version)

    async def follow(self, version: str) -> None:
        """Flip to the version that somebody made the active one.

        One that fails to load is logged once and kept in `refused`; the current model stays.
        """
        if version in self.rejected:
            return
        self.rejected.clear()
        if self.current and self.current.version == version:
            return
        try:
            async with self._changing:
                # While this waited an operator may have activated another one: without a second
                # look the service would go back and forth between the two.
                if await self._is_active(version):
                    await self._load_and_swap(version, None)
        except LongtailError as error:
            self.rejected[version] = str(error)
            log.error("version %s is active but can't be loaded: %s", version, error)

    async def add_fresh_items(self, model: Model, new_ids: list[bytes]) -> None:
        """Swap in the current model with fresh items, unless another took over meanwhile.

        Raises:
            StoreError: the store can't be read.
        """
        async with self._changing:
            if self.current is not model:
                return
            with gc_paused():
                grown = await with_fresh_items(model, self._versions, new_ids)
            self._swap(grown)
            log.info("version %s has %d fresh items now", grown.version, grown.n_fresh)

    # --- how -----------------------------------------------------------------------------

    async def _load_and_swap(
        self, version: str, record: Callable[[], Awaitable[T]] | None
    ) -> T | None:
        """Load, record if asked to, flip; the caller holds the lock."""
        model = self.current
        if model is None or model.version != version:
            self.loading = version
            try:
                with gc_paused():
                    model = await self._load(version)
            finally:
                self.loading = None
        result = await record() if record else None
        self.rejected.pop(version, None)
        if model is not self.current:
            self._swap(model)
            await asyncio.to_thread(self._remember_active, version)
        return result

    async def _is_active(self, version: str) -> bool:
        try:
            return await self._versions.active_version() == version
        except StoreError:
            return True  # as far as is known

    async def _in_registry(self, version: str) -> str | None:
        return await asyncio.to_thread(self._registry.activate, version)

    async def _load(self, version: str) -> Model:
        folder = await asyncio.to_thread(self._folder_of, version)

        def open_it() -> Model:
            return load_version(folder, version, self._provider)

        # Nobody is disturbed before the first model is there.
        model = await (run_background(open_it) if self.current else asyncio.to_thread(open_it))
        try:
            fresh_ids = await self._versions.fresh_ids(version)
            return await with_fresh_items(model, self._versions, fresh_ids) if fresh_ids else model
        except StoreError:
            return model  # the watcher adds them when the store is back

    def _swap(self, model: Model) -> None:
        previous = self.current
        self.current = model
        # What was loaded lives long: the garbage collector need not walk it in every request.
        gc.freeze()
        # Nor look for cycles at every seven hundredth object: a request makes some and leaves none.
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

    def _remember_active(self, version: str) -> None:
        try:
            content = json.dumps({"version": version}).encode()
            write_atomically(self._bundles_dir / ACTIVE_FILE, content)
        except OSError as error:
            log.warning("%s can't be written: %s", self._bundles_dir / ACTIVE_FILE, error)

    def _last_active(self) -> str | None:
        try:
            document: Any = json.loads((self._bundles_dir / ACTIVE_FILE).read_bytes())
            return str(document["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
