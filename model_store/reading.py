"""Reads the files of a bundle; every failure is one error that names the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.errors import BundleError, BundleUnavailable, LongtailError
from model_store.texts import first_line


@contextmanager
def bundle_errors(path: Path | str, problem: str) -> Iterator[None]:
    """Turn exceptions into BundleUnavailable (no file, disk, memory) or, if lasting, BundleError.

    Args:
        path: the file that is read, as it is shown.
        problem: a few words for the message of a BundleError.
    """
    try:
        yield
    except LongtailError:
        raise
    except (OSError, MemoryError) as error:
        raise BundleUnavailable(f"{path}: can't be read now ({first_line(error)})") from error
    except BaseException as error:
        # Parsers raise whatever they run into, and a panic in Rust is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise BundleError(f"{path}: {problem} ({first_line(error)})") from error


def read_json(path: Path, what: str = "readable JSON") -> Any:
    """The document in a file.

    Raises:
        BundleUnavailable: the file can't be read now.
        BundleError: it holds no JSON; the message names the expected content, `what`.
    """
    with bundle_errors(path, f"not {what}"):
        return json.loads(path.read_bytes())


def parse_json(content: bytes, place: Path | str) -> Any:
    """The document in the bytes of a file.

    Raises:
        BundleError: they are no JSON; the message names the place.
    """
    with bundle_errors(place, "not readable JSON"):
        return json.loads(content)


def map_array(path: Path) -> npt.NDArray[Any]:
    """The array in a `.npy` file, mapped and read-only.

    Raises:
        BundleUnavailable: the file can't be read now.
        BundleError: it holds no array, or one of Python objects.
    """
    with bundle_errors(path, "not a readable array"):
        return np.lib.format.open_memmap(path, mode="r")
