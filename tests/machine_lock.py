"""Whose turn it is where several workers run the tests: who measures has the machine alone."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MachineLock:
    """Locks that all workers of a run share by its name; the kernel lets go of a dead worker's."""

    def __init__(self, run: str) -> None:
        folder = Path(tempfile.gettempdir())
        self._paths = [folder / f"longtail-tests-{run}.{part}" for part in ("gate", "room")]
        self._gate, self._room = (os.open(path, os.O_RDWR | os.O_CREAT) for path in self._paths)

    @contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        """A turn beside others, or alone: then when theirs are over, and before any new one."""
        # Who waits for the room keeps the gate, so that nobody who comes later is let in before.
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    def close(self) -> None:
        """No more turns for this worker; those still at work keep their open files."""
        for descriptor, path in zip((self._gate, self._room), self._paths, strict=True):
            os.close(descriptor)
            path.unlink(missing_ok=True)
