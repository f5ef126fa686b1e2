"""Files that are either whole or not there."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from errno import ENOTDIR
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

# The ioctl of Linux that makes a file share another one's blocks (linux/fs.h).
_FICLONE = 0x40049409
_COPIED_BYTES = 4 << 20
# Parts that stay in a core's cache until they are hashed: three quarters of the time of megabytes.
_HASHED_BYTES = 64 << 10
_PARTS_AT_ONCE = 1024
# The end of the name of a folder that is being removed: nobody else's folder has such a one.
_GONE_BYTES = 4
_GONE = ".{}.gone"
_ANY_GONE = f".*{_GONE.format('[0-9a-f]' * 2 * _GONE_BYTES)}"


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder, and those that it lies in, where they aren't there.

    Raises:
        NotADirectoryError: a file is in its place; `mkdir` would say "File exists".
        OSError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except FileExistsError:
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(folder)) from None


def write_atomically(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Write a temporary file, flush it to disk and rename it to `path`.

    A kill leaves the old file or the new one.

    `content` is the bytes, or a function that writes them into the open file.
    """
    make_folder(path.parent)
    # Random as well: containers that share a folder have the same process ids.
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder; its name holds all of it or nothing at any time, after a kill too.

    Raises:
        OSError: it can't be renamed, which is the first step.
    """
    _set_aside(folder)
    clear_removed(folder.parent)


def replace_folder(folder: Path, fresh: Path) -> None:
    """Rename `fresh` to `folder`, and remove what was there.

    Raises:
        OSError: one of them can't be renamed.
    """
    if folder.exists():
        _set_aside(folder)
    fresh.rename(folder)
    clear_removed(folder.parent)


def clear_removed(parent: Path) -> None:
    """Remove what a killed `remove_folder` or `replace_folder` left of folders in this one."""
    for left in parent.glob(_ANY_GONE):
        shutil.rmtree(left, ignore_errors=True)


def _set_aside(folder: Path) -> None:
    ending = _GONE.format(secrets.token_hex(_GONE_BYTES))
    folder.rename(folder.with_name(f".{folder.name}{ending}"))


def probe_folder(folder: Path, n_bytes: int) -> None:
    """Find out now whether files can be written in a folder, by writing one and deleting it.

    Raises:
        OSError: they can't: no permission, a read-only file system, a full disk.
    """
    probe = folder / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
    write_atomically(probe, b"\0" * n_bytes)
    probe.unlink()


def save_array(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write an array as `.npy`, whole or not at all."""
    write_atomically(path, lambda file: np.save(file, array, allow_pickle=False))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes to a path where there is none yet.

    Where the file system can share blocks until one of the two is written to (btrfs, XFS), nothing
    is copied. Never a hard link: a change of one file would change the other.
    """
    with source.open("rb") as read, target.open("xb") as written:
        try:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        except OSError:
            shutil.copyfileobj(read, written, _COPIED_BYTES)


def hash_file(path: Path, pause: Callable[[], object] = lambda: None) -> str:
    """sha256 of a file's bytes, in hex; `pause` is called now and then meanwhile."""
    digest = hashlib.sha256()
    n_parts = 0
    with path.open("rb", buffering=0) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        # One for all parts: the system would clear the memory of each new one.
        part = memoryview(bytearray(min(_HASHED_BYTES, size_bytes) or _HASHED_BYTES))
        while n_read := file.readinto(part):
            digest.update(part[:n_read])
            n_parts += 1
            if n_parts % _PARTS_AT_ONCE == 0:
                pause()
    return digest.hexdigest()
