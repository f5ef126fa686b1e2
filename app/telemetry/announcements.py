"""What was last logged about a state, by any worker: each change is one line, and not one a worker.

Workers share it as a file in the folder of their metrics.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from app.telemetry.metrics import MULTIPROCESS_DIR


class Announcement:
    """The last state that was logged.

    Args:
        name: of the state; that of the shared file.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._state = ""

    def exchange(self, state: str) -> str:
        """Set a state that is about to be logged, and answer the one before; "" at first."""
        before, self._state = self._state, state
        folder = os.environ.get(MULTIPROCESS_DIR)
        if folder is not None:
            # Without the file there is one line a worker, which does no harm.
            with contextlib.suppress(OSError), (Path(folder) / self._name).open("a+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                before = file.read()
                file.truncate(0)
                file.write(state)
        return before
