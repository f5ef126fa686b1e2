"""The C library's allocator, told to give the memory of a model that has gone back to the system.

glibc hands out large blocks as mappings of their own, which go back when they are freed. But each
time one is freed it raises the size from which on it does so, up to 32 MiB: from the second model
on, weights lie in the heap, between what lives longer, and a service grows for dozens of swaps.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KIB = 1024
_WHILE_LOADING_BYTES = 128 * _KIB
# What glibc would come to by itself: what requests take and give back comes from the heap.
_AT_REST_BYTES = 32 * _KIB * _KIB


@contextmanager
def large_blocks_mapped() -> Iterator[None]:
    """What is allocated meanwhile in blocks of 128 KiB and more goes back when it is freed."""
    _set(_MMAP_THRESHOLD, _WHILE_LOADING_BYTES)
    try:
        yield
    finally:
        _set(_MMAP_THRESHOLD, _AT_REST_BYTES)
        _set(_TRIM_THRESHOLD, 2 * _AT_REST_BYTES)


def trim() -> None:
    """Give free pages of the heap back."""
    if library := _glibc():
        library.malloc_trim(0)


def _set(parameter: int, value: int) -> None:
    if library := _glibc():
        library.mallopt(parameter, value)


@cache
def _glibc() -> Any:
    """The C library where it is glibc, else None: others need no advice, or take none."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
