"""Folders that the service writes to, checked before they are needed."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from model_store.errors import ConfigError
from model_store.files import probe_folder

log = logging.getLogger(__name__)

MIN_FREE_BYTES = 64 * 1024
_METRICS_PREFIX = "metrics-"


def check_writable(folder: Path, variable: str) -> None:
    """Create the folder if it is missing, and write to it.

    Raises:
        ConfigError: it can't be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe_folder(folder, MIN_FREE_BYTES)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{variable}={str(folder)!r}: it can't be written ({reason})") from None


@contextlib.contextmanager
def metrics_folder(parent: Path) -> Iterator[Path]:
    """A folder in which worker processes share their metrics within the context.

    Folders of killed services are removed too: their owners hold no lock on them any more.
    """
    for left in parent.glob(f"{_METRICS_PREFIX}*"):
        with contextlib.suppress(OSError), (left / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_METRICS_PREFIX, dir=parent))
    try:
        with (folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
