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
from model_store.files import make_folder, probe_folder

log = logging.getLogger(__name__)

MIN_FREE_BYTES = 64 * 1024
# The kernel's limit is 108 with the end mark, 104 on macOS.
LONGEST_SOCKET_PATH = 100
SOCKET = "socket"
# Where TMPDIR is too long as well.
SHORT_FOLDERS = (Path("/tmp"), Path("/dev/shm"))  # noqa: S108 - a name is made for each use
_METRICS_PREFIX, _SOCKET_PREFIX = "metrics-", "longtail-rerank-"


def check_writable(folder: Path, variable: str) -> None:
    """Create the folder if it is missing, and write to it.

    Raises:
        ConfigError: it can't be created or written.
    """
    try:
        make_folder(folder)
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
    with _own_folder(_short_enough(parent.absolute()), _SOCKET_PREFIX) as folder:
        yield folder


def _short_enough(parent: Path) -> Path:
    """The folder, or one for temporary files, where a socket's path is not too long.

    Raises:
        ConfigError: none of them can hold one.
    """
    folders = [parent]
    with contextlib.suppress(FileNotFoundError):
        folders.append(Path(tempfile.gettempdir()).absolute())
    folders += SHORT_FOLDERS
    for folder in folders:
        longest = folder / f"{_SOCKET_PREFIX}{'x' * 8}" / SOCKET
        is_short = len(os.fsencode(longest)) <= LONGEST_SOCKET_PATH
        if is_short and (folder == parent or os.access(folder, os.W_OK)):
            return folder
    raise ConfigError(
        f"LONGTAIL_STORE_DIR={str(parent)!r}: the path is too long for a socket, and there is no "
        "temporary folder for one (TMPDIR)"
    )


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
