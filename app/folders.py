"""Folders that the service writes to, checked before they are needed."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from model_store.errors import ConfigError
from model_store.files import probe_folder

log = logging.getLogger(__name__)

MIN_FREE_BYTES = 64 * 1024
# The kernel's limit is 108 with the end mark, 104 on macOS.
LONGEST_SOCKET_PATH = 100
SOCKET = "socket"
_METRICS_PREFIX, _SOCKET_PREFIX = "metrics-", "longtail-rerank-"


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
    """A folder in which worker processes share their metrics within the context."""
    with _own_folder(parent, _METRICS_PREFIX) as folder:
        yield folder


@contextlib.contextmanager
def socket_folder(parent: Path) -> Iterator[Path]:
    """A folder of this user alone for a socket named SOCKET, within the context.

    It is in `parent`, or in the temporary folder where that path is too long for a socket.

    Raises:
        ConfigError: there is no such folder.
    """
    longest = parent.absolute() / f"{_SOCKET_PREFIX}{'x' * 8}" / SOCKET
    if len(os.fsencode(longest)) > LONGEST_SOCKET_PATH:
        try:
            parent = Path(tempfile.gettempdir())
        except FileNotFoundError:
            raise ConfigError(
                f"LONGTAIL_STORE_DIR={str(parent)!r}: the path is too long for a socket, and there "
                "is no temporary folder for one (TMPDIR)"
            ) from None
    with _own_folder(parent.absolute(), _SOCKET_PREFIX) as folder:
        yield folder


@contextlib.contextmanager
def _own_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder, removed at the end of the context.

    Folders of killed services are removed too: their owners hold no lock on them any more.
    """
    for left in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), (left / "lock").open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        with (folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
