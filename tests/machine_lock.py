"""A lock between the workers of a test run: tests that measure time run alone."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MachineLock:
    """A shared and exclusive lock of all workers of a run; the kernel frees a dead worker's."""

    def __init__(self, run: str) -> None:
        folder = Path(tempfile.gettempdir())
        self._paths = [folder / f"longtail-tests-{run}.{part}" for part in ("queue", "machine")]
        self._queue, self._machine = (os.open(path, os.O_RDWR | os.O_CREAT) for path in self._paths)

    @contextmanager
    def hold(self, *, alone: bool) -> Iterator[None]:
        """Hold the machine with others, or alone: after those that hold it, before any new one."""
        # A waiting worker keeps the queue's lock, so that later ones can't overtake it.
        fcntl.flock(self._queue, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._queue, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._machine, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock's files; other workers keep theirs open."""
        for descriptor, path in zip((self._queue, self._machine), self._paths, strict=True):
            os.close(descriptor)
            path.unlink(missing_ok=True)
