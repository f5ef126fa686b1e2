"""Checks of a bundle's arrays, whose faults would otherwise appear in requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.errors import BundleError

Array = npt.NDArray[Any]
Pause = Callable[[], object]

MAX_WEIGHT = 1e6
"""Products of larger weights leave what float32 can hold; those of trained models are below 100."""
MAX_COUNT = 2.0**53
# A mask of a whole large table would take a third of its memory.
_ROWS_AT_ONCE = 100_000
_MAX_LENGTH_ERROR = 0.01


def no_pause() -> None:
    """Do nothing between two steps; a loader that yields the CPU to requests passes another one."""


def check_layout(path: Path, array: Array, dtype: str, shape: tuple[int, ...]) -> None:
    """Check type, shape and order of an array.

    Raises:
        BundleError: it has another one.
    """
    if array.dtype != np.dtype(dtype):
        raise BundleError(f"{path}: holds {array.dtype}, expected {np.dtype(dtype)}")
    if array.shape != shape:
        raise BundleError(f"{path}: shape {array.shape}, expected {shape}")
    if not array.flags.c_contiguous:
        raise BundleError(f"{path}: is in Fortran order, expected C order")


def check_range(path: Path, array: Array, low: float, high: float, pause: Pause) -> None:
    """Check that all numbers of an array lie in a range, which NaN never does.

    Raises:
        BundleError: one doesn't.
    """
    for start in range(0, len(array), _ROWS_AT_ONCE):
        part = np.asarray(array[start : start + _ROWS_AT_ONCE])
        least, most = float(part.min()), float(part.max())
        if not (np.isfinite(least) and np.isfinite(most)):
            raise BundleError(f"{path}: holds NaN or infinity")
        if least < low or most > high:
            worst = least if least < low else most
            raise BundleError(f"{path}: holds {worst:g}, expected {low:g} to {high:g}")
        pause()


def check_padding(path: Path, array: Array) -> None:
    """Check that row 0, which stands for no item, is zeros.

    Raises:
        BundleError: it isn't.
    """
    if np.any(array[0]):
        raise BundleError(f"{path}: row 0 stands for no item and must be zeros")


def check_unit_rows(path: Path, array: Array, pause: Pause) -> None:
    """Check that each row has the length 1, or 0 without knowledge.

    Raises:
        BundleError: one has another length.
    """
    for start in range(0, len(array), _ROWS_AT_ONCE):
        part = np.asarray(array[start : start + _ROWS_AT_ONCE])
        lengths = np.sqrt(np.einsum("nk,nk->n", part, part))
        wrong = np.flatnonzero((lengths != 0) & ~(np.abs(lengths - 1) <= _MAX_LENGTH_ERROR))
        if len(wrong):
            row, length = start + int(wrong[0]), lengths[wrong[0]]
            raise BundleError(f"{path}: row {row} has length {length:.4g}, expected 1")
        pause()


def check_histories(folder: Path, offsets: Array, items: Array, times: Array, n_items: int) -> None:
    """Check that users' histories are contiguous and hold items of the catalogue.

    Args:
        folder: the bundle's, for messages.
        offsets: int64 [U + 1].
        items: int32.
        times: float64, as many.
        n_items: of the catalogue.

    Raises:
        BundleError: an array doesn't fit; the message names it.
    """
    if offsets[0] != 0 or np.any(np.diff(offsets) < 0) or offsets[-1] != len(items):
        raise BundleError(f"{folder}: the users' offsets don't rise from 0 to {len(items)}")
    if len(items) and not (items.min() >= 1 and items.max() <= n_items):
        raise BundleError(
            f"{folder}: users' items from {items.min()} to {items.max()}, expected 1 to {n_items}"
        )
    if not np.isfinite(times).all():
        raise BundleError(f"{folder}: users' timestamps hold NaN or infinity")
