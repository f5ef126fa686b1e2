"""Where the bundle of a version is on this machine, and how it comes here from a URL."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from app.deployment.rejections import Fingerprint, fingerprint
from app.model.background import BackgroundThread, yield_cpu
from model_store.bundle import MANIFEST
from model_store.errors import (
    BundleError,
    BundleUnavailable,
    LongtailError,
    RegistryError,
    StoreError,
)
from model_store.registry import Registry
from model_store.remote_bundles import Bundles, RemoteBundles, local_folder
from model_store.signatures import SIGNATURE

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 0.5
LOG_S = 10.0


class BundleFolders:
    """Finds the folders of versions for a process, and has versions at a URL downloaded.

    That is done by another process at the lowest priority, which a thread here waits for: neither
    the event loop nor a request does.

    Args:
        registry: says where a version was published from.
        bundles_dir: where published bundles are.
        serves: whether requests are answered, so that a download must not take their CPU, nor the
            time of what follows the record. Without them it is waited for.

    Attributes:
        spared: versions that must stay in the cache.
    """

    def __init__(
        self, registry: Registry, bundles_dir: Bundles, serves: Callable[[], bool]
    ) -> None:
        self.spared: Collection[str] = ()
        self._registry = registry
        self._bundles = bundles_dir
        self._serves = serves
        self._folder = local_folder(bundles_dir)
        self._thread = BackgroundThread("download", yields=False)
        self._downloads: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, LongtailError] = {}

    def stop(self) -> None:
        """End a download that is under way; the next one goes on where it was."""
        for task in self._downloads.values():
            task.cancel()
        self._thread.stop(STOP_TIMEOUT_S)

    async def find(self, version: str) -> Path:
        """The folder of a version: in the bundles folder, else where it was published from."""
        return await asyncio.to_thread(self._find, version)

    async def is_here(self, version: str) -> bool:
        """Whether `load` needs no long download first; if not, one is started beside all else."""
        bundles = self._bundles
        if not isinstance(bundles, RemoteBundles) or not self._serves():
            return True
        if version in self._failures:
            return True
        if version in self._downloads:
            return False
        if await asyncio.to_thread(bundles.find, version) is not None:
            return True
        self._downloads[version] = asyncio.create_task(self._download(version))
        return False

    async def _download(self, version: str) -> None:
        try:
            await self._fetch(version)
        except LongtailError as error:
            self._failures[version] = error  # `load` raises it
        finally:
            del self._downloads[version]

    async def load(self, version: str, load: Callable[[], Awaitable[None]]) -> None:
        """Have a version's folder here and call `load`; again if files in the cache were damaged.

        Args:
            version: the version.
            load: loads it from where `find` says.

        Raises:
            BundleUnavailable: it can't be downloaded now, or be loaded now.
            BundleError: it can't be loaded.
        """
        if (failure := self._failures.pop(version, None)) is not None:
            raise failure
        await self._fetch(version)
        try:
            await load()
        except BundleUnavailable:
            raise
        except BundleError as error:
            if not isinstance(self._bundles, RemoteBundles):
                raise
            before = await asyncio.to_thread(self._files_of, version)
            await self._fetch(version, again=True)
            if await asyncio.to_thread(self._files_of, version) == before:
                raise
            log.warning("version %s was damaged in the cache, and is repaired: %s", version, error)
            await load()

    async def _fetch(self, version: str, *, again: bool = False) -> None:
        bundles, spared = self._bundles, (*self.spared, version)
        if not isinstance(bundles, RemoteBundles):
            return
        # The thread may be at another version's download, for minutes.
        if not again and await asyncio.to_thread(bundles.find, version) is not None:
            return
        next_s = time.monotonic() + LOG_S

        def report(done: int, total: int) -> None:
            nonlocal next_s
            yield_cpu()  # it ends the download where the version is no longer needed
            if time.monotonic() >= next_s:
                next_s = time.monotonic() + LOG_S
                shown = done / 1e6, total / 1e6
                log.info("version %s: %.0f of %.0f MB are downloaded", version, *shown)

        await self._thread.run(
            lambda: bundles.fetch(version, spared, report, again=again, yields=self._serves())
        )

    def _find(self, version: str) -> Path:
        folder = self._folder / version
        if folder.is_dir() or isinstance(self._bundles, RemoteBundles):
            return folder
        try:
            return self._registry.get(version).folder_in(self._bundles, ())
        except (RegistryError, StoreError, BundleError):
            return folder

    def _files_of(self, version: str) -> Fingerprint:
        """What tells of a change of a version's files, but for the manifest and its signature."""
        found = fingerprint(self._folder / version) or ()
        return tuple(one for one in found if one[0] not in {MANIFEST, SIGNATURE})
