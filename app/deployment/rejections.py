"""Versions that could not be loaded, and when to try one again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_store.errors import BundleError, BundleUnavailable

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
Fingerprint = tuple[tuple[str, int, int, int], ...] | None


@dataclass
class _Rejection:
    error: BundleError
    folder: Path
    fingerprint: Fingerprint
    pause_s: float
    look_at_s: float


class Rejections:
    """Temporary failures are tried again with growing pauses, others when the folder changes.

    Args:
        on_change: called with a version and whether it is rejected from now on.
    """

    def __init__(self, on_change: Callable[[str, bool], None]) -> None:
        self._by_version: dict[str, _Rejection] = {}
        self._on_change = on_change

    @property
    def reasons(self) -> dict[str, str]:
        """Why each version was rejected."""
        return {version: str(one.error) for version, one in self._by_version.items()}

    def add(self, version: str, error: BundleError, folder: Path) -> bool:
        """Remember why a version was rejected; True if that is new."""
        before = self._by_version.get(version)
        pause_s = min(2 * before.pause_s, LONGEST_PAUSE_S) if before else FIRST_PAUSE_S
        self._by_version[version] = _Rejection(
            error, folder, fingerprint(folder), pause_s, time.monotonic() + pause_s
        )
        self._on_change(version, True)
        return before is None or str(before.error) != str(error)

    async def permit(self, version: str) -> bool:
        """Whether to try a version: it was not rejected, or the cause may be gone."""
        rejection = self._by_version.get(version)
        if rejection is None:
            return True
        if time.monotonic() < rejection.look_at_s:
            return False
        if isinstance(rejection.error, BundleUnavailable):
            return True
        if await asyncio.to_thread(fingerprint, rejection.folder) != rejection.fingerprint:
            return True
        rejection.pause_s = min(2 * rejection.pause_s, LONGEST_PAUSE_S)
        rejection.look_at_s = time.monotonic() + rejection.pause_s
        return False

    def forget(self, version: str) -> None:
        """Forget a version that was loaded after all."""
        if self._by_version.pop(version, None) is not None:
            self._on_change(version, False)

    def keep_only(self, versions: set[str]) -> None:
        """Forget all others, which are no longer needed."""
        for version in self._by_version.keys() - versions:
            self.forget(version)


def fingerprint(folder: Path) -> Fingerprint:
    """Names, sizes, times and inodes of a folder's files, None where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries]
    except OSError:
        return None
    return tuple(
        sorted((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in found)
    )
