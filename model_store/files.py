"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt


def write_atomically(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Write beside `path`, flush to disk, then rename: a kill leaves the old file or the new one.

    `content` is the bytes, or a function that writes them into the open file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
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


def save_array(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write an array as `.npy`, whole or not at all."""
    write_atomically(path, lambda file: np.save(file, array, allow_pickle=False))


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
