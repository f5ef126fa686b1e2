"""Background work that must not slow requests: loading a version while another one answers.

Both need the interpreter and perhaps the same core. The work is done in a thread of the lowest
priority, which is enough for work outside the interpreter (checksums, creating sessions). Work that
needs the interpreter pauses between its steps for longer than they took.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")

# The share of its time in which the work may hold the interpreter; and the longest pause.
SHARE = 0.25
LONGEST_PAUSE_S = 0.05
LOWEST_PRIORITY = 19

_thread = threading.local()


async def run_background(work: Callable[[], Result]) -> Result:
    """Run work in a thread of its own that yields the CPU to requests; returns its result.

    A thread can lower its priority and not raise it again, so each is used once.
    """
    threads = ThreadPoolExecutor(1, "beside", initializer=_begin)
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
    finally:
        # Not awaited: that would block the loop, for minutes where the caller was cancelled.
        threads.shutdown(wait=False)


def yield_cpu() -> None:
    """Pause, in a thread of `run_background`; elsewhere do nothing. To be called between steps."""
    cpu_since_s: float | None = getattr(_thread, "cpu_since_s", None)
    if cpu_since_s is not None:
        worked_s = time.thread_time() - cpu_since_s
        time.sleep(min(LONGEST_PAUSE_S, worked_s * (1 / SHARE - 1)))
        _thread.cpu_since_s = time.thread_time()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Other threads get the interpreter ten times as soon, and garbage collection is off.

    The collector would walk incomplete catalogues again and again. One context at a time.
    """
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(usual_s / 10)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        sys.setswitchinterval(usual_s)


def _begin() -> None:
    _thread.cpu_since_s = time.thread_time()
    # Per thread on Linux; elsewhere it would lower the priority of the whole process.
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
