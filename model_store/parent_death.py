"""Children that end with their parent, even where it is killed outright."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel send this process SIGTERM when its parent ends; Linux, else nothing.

    To be called in a child before its program starts. It counts as the parent's end when the thread
    that started the child ends.

    Args:
        parent: process id of the parent, where it may have ended before this call; the kernel tells
            nobody of that afterwards.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if parent is not None and os.getppid() != parent:
            signal.raise_signal(signal.SIGTERM)
