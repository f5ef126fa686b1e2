"""Configures the C library's allocator to return the memory of a replaced model to the system.

glibc allocates large blocks as mappings, which go back to the system when they are freed. But each
time one is freed it raises the size limit of mappings, up to 32 MiB: from the second model on,
weights lie in the heap, between longer-lived objects, and a service grows for dozens of swaps.
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
# The limit that glibc would reach by itself: requests allocate from the heap.
_AT_REST_BYTES = 32 * _KIB * _KIB


@contextmanager
def large_blocks_mapped() -> Iterator[None]:
    """In the context, blocks of 128 KiB and more go back to the system when they are freed."""
    _set(_MMAP_THRESHOLD, _WHILE_LOADING_BYTES)
    try:
        yield
    finally:
        _set(_MMAP_THRESHOLD, _AT_REST_BYTES)
        _set(_TRIM_THRESHOLD, 2 * _AT_REST_BYTES)


def _set(parameter: int, value: int) -> None:
    if library := _glibc():
        library.mallopt(parameter, value)


@cache
def _glibc() -> Any:
    """The C library if it is glibc, else None: others need no such setting."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") else None
