"""Bundles that were downloaded, in a folder of bounded size.

A version's folder is there whole or not at all: it is filled under another name and renamed when
every file has been checked. A killed download leaves what it has for the next one. Versions that
were used least recently go first when there is no space left, but never one that is in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from model_store.bundle import MANIFEST
from model_store.errors import BundleUnavailable
from model_store.files import clear_removed, make_folder, remove_folder

SETTING = "LONGTAIL_BUNDLES_CACHE_BYTES"
_LOCK = ".lock"
_PARTIAL = ".partial"


@dataclass(frozen=True)
class BundleCache:
    """The folder.

    Attributes:
        folder: made when it is first written to.
        max_bytes: limit on the sizes of all files of bundles in it.
    """

    folder: Path
    max_bytes: int

    def find(self, version: str) -> Path | None:
        """The folder of a version, which counts as used now; None if it isn't there."""
        folder = self.folder / version
        if not (folder / MANIFEST).is_file():
            return None
        with contextlib.suppress(OSError):
            os.utime(folder)
        return folder

    def versions(self) -> list[str]:
        """The versions that are there."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{MANIFEST}"))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Within the context no other process downloads or removes anything here.

        The lock goes with its process.

        Raises:
            BundleUnavailable: the folder can't be written.
        """
        try:
            make_folder(self.folder)
            lock = (self.folder / _LOCK).open("ab")
        except OSError as error:
            raise BundleUnavailable(
                f"{self.folder}: can't be written ({error.strerror})"
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def partial(self, version: str) -> Path:
        """Where a version's files are gathered."""
        return self.folder / f".{version}{_PARTIAL}"

    def reopen(self, version: str) -> None:
        """Have a version's files checked again, as those of a download that was killed."""
        partial = self.partial(version)
        shutil.rmtree(partial, ignore_errors=True)
        (self.folder / version).replace(partial)

    def make_space(self, version: str, size_bytes: int, spared: Collection[str]) -> None:
        """Remove what is needed least, until a version has its place.

        Args:
            version: about to be downloaded; what is there of it counts as part of its size.
            size_bytes: of all its files.
            spared: versions in use.

        Raises:
            BundleUnavailable: the limit or the disk is too small for it beside those; nothing is
                removed then.
        """
        clear_removed(self.folder)
        sizes = {path: _size_of(path) for path in self.folder.iterdir() if path.is_dir()}
        there_bytes = sizes.pop(self.partial(version), 0)
        removable = self._removable(sizes, spared)
        kept = [path.name for path in sizes if path not in removable]
        kept_bytes = sum(sizes.values()) - sum(sizes[path] for path in removable)
        takes = f"version {version!r} takes {size_bytes:,} bytes, and "
        if size_bytes + kept_bytes > self.max_bytes:
            raise BundleUnavailable(
                f"{takes}{self.folder} may hold {self.max_bytes:,} ({SETTING}), {kept_bytes:,} of "
                f"them for versions in use: {', '.join(sorted(kept)) or 'none'}"
            )
        free_bytes = shutil.disk_usage(self.folder).free + there_bytes
        left_bytes = free_bytes + sum(sizes[path] for path in removable)
        if size_bytes > left_bytes:
            raise BundleUnavailable(f"{takes}the disk of {self.folder} has {left_bytes:,} left")
        for path in removable:
            held_bytes = sum(sizes.values())
            if size_bytes + held_bytes <= self.max_bytes and size_bytes <= free_bytes:
                return
            remove_folder(path)
            free_bytes += sizes.pop(path)

    def _removable(self, sizes: Collection[Path], spared: Collection[str]) -> list[Path]:
        """Downloads that were broken off, then versions that were used least recently."""
        broken_off = [path for path in sizes if path.name.endswith(_PARTIAL)]
        versions = [path for path in sizes if path not in broken_off and path.name not in spared]
        return broken_off + sorted(versions, key=lambda path: path.stat().st_mtime)


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
