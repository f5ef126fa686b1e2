"""Background work that must not slow requests: loading a version while another one answers.

Both need the interpreter and perhaps the same core. The work is done in a thread of the lowest
priority, which is enough for work outside the interpreter (checksums, creating sessions). Work that
needs the interpreter pauses between its steps for longer than they took, and while requests keep
the process busy, loading a version pauses for longer still.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

Result = TypeVar("Result")

SHARE = 0.25
"""Of its time, in which a thread that yields may work."""
LONGEST_PAUSE_S = 0.05
"""Between two of its steps, however long these are."""
BUSY = 0.1
"""Of a core's time: a process whose other threads use more has requests to answer."""
SPREADING = 0.3
"""Of its share, in which work that is spread may work while the process is busy."""
LONGEST_SPREAD_PAUSE_S = 0.15
"""Between two of its steps then."""
SPREAD_S = 10.0
"""From its start. After that it takes its whole share: a large catalogue would take too long."""
LOWEST_PRIORITY = 19
GC_THRESHOLDS = (50_000, 20, 100)
# Objects that are walked in two milliseconds. Beside a larger catalogue, what is left is nothing.
MAX_WALKED = 50_000

_thread = threading.local()


class Stopped(BaseException):
    """The work is no longer needed; raised in its thread, at its next pause."""


@dataclass
class _Job:
    """A piece of work and the future of its caller."""

    work: Callable[[], Any]
    future: asyncio.Future[Any]
    is_spread: bool
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    is_stopped: bool = False


class _Pace:
    """The pauses between the steps of a thread's job.

    Args:
        share: of its time in which it may work.
        is_spread: whether it takes less while the process is busy.
    """

    def __init__(self, share: float, is_spread: bool) -> None:
        self._share, self._is_spread = share, is_spread
        self._spread_until_s = time.monotonic() + SPREAD_S
        self._look()

    def pause(self) -> None:
        """Pause after a step."""
        own_s, all_s, now_s = self._own_s, self._all_s, self._now_s
        self._look()
        worked_s = self._own_s - own_s
        others_s = self._all_s - all_s - worked_s
        share, longest_s = self._share, LONGEST_PAUSE_S
        is_busy = others_s > BUSY * (self._now_s - now_s)
        if self._is_spread and is_busy and self._now_s < self._spread_until_s:
            share, longest_s = share * SPREADING, LONGEST_SPREAD_PAUSE_S
        time.sleep(min(longest_s, worked_s * (1 / share - 1)))

    def _look(self) -> None:
        self._all_s, self._own_s = time.process_time(), time.thread_time()
        self._now_s = time.monotonic()


class BackgroundThread:
    """One thread for all work of a kind, one piece after the other; it starts with the first.

    One for all, as the allocators of the C library and of onnxruntime keep memory for each thread
    that ever used them. A daemon, and not an executor's: a process that ends while a large
    catalogue is being loaded doesn't wait for it.

    Args:
        name: of the thread.
        yields: whether it has the lowest priority and pauses between its steps.
        share: of its time in which it may work, if it yields; by default SHARE.
    """

    def __init__(self, name: str, *, yields: bool, share: float | None = None) -> None:
        self._name = name
        self._yields = yields
        self._share = SHARE if share is None else share
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], Result], *, is_spread: bool = False) -> Result:
        """The result of some work. A cancelled caller doesn't wait: the work stops by itself.

        Args:
            work: calls `yield_cpu` between its steps.
            is_spread: whether it is spread over more time while the process is busy.
        """
        job = _Job(work, asyncio.get_running_loop().create_future(), is_spread)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)
        try:
            result: Result = await job.future
        finally:
            job.is_stopped = True
        return result

    def stop(self, timeout_s: float) -> None:
        """End the thread once its work has stopped, or leave it after some time."""
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        if self._yields:
            _lower_priority()
        while (job := self._jobs.get()) is not None:
            _thread.job = job
            _thread.pace = _Pace(self._share, job.is_spread) if self._yields else None
            try:
                result = None if job.is_stopped else job.work()
            except BaseException as error:
                _answer(job, error, is_error=True)
            else:
                _answer(job, result)
            # Else the loaded model would live until the next one is loaded.
            _thread.job = _thread.pace = job = result = None


def _answer(job: _Job, result: Any, *, is_error: bool = False) -> None:
    def tell() -> None:
        if not job.future.done():
            (job.future.set_exception if is_error else job.future.set_result)(result)

    with contextlib.suppress(RuntimeError):  # the loop has ended, and the caller with it
        job.loop.call_soon_threadsafe(tell)


def yield_cpu() -> None:
    """Yield the CPU to requests, in a background thread; elsewhere do nothing. To be called often.

    Raises:
        Stopped: the work is no longer needed.
    """
    job: _Job | None = getattr(_thread, "job", None)
    if job is None:
        return
    if job.is_stopped:
        raise Stopped
    if _thread.pace is not None:
        _thread.pace.pause()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Other threads get the interpreter ten times as soon, and garbage collection is off.

    The collector would walk incomplete catalogues again and again.
    """
    _Paused.begin()
    try:
        yield
    finally:
        _Paused.end()


def freeze_garbage() -> None:
    """Keep the garbage collector away from what has just been loaded."""
    # What a load leaves behind in cycles would stay for good once it is frozen: 45 kB a swap.
    if gc.get_count()[0] <= MAX_WALKED:
        gc.collect(0)
    # The loaded model lives long: the garbage collector need not walk it during requests.
    gc.freeze()
    # Nor look for cycles after every 700 objects: a request creates some and leaves none.
    gc.set_threshold(*GC_THRESHOLDS)


class _Paused:
    """How many contexts of `gc_paused` are open in this process, which they are about."""

    _lock = threading.Lock()
    _n_open = 0
    _usual_s = 0.0

    @classmethod
    def begin(cls) -> None:
        with cls._lock:
            if cls._n_open == 0:
                cls._usual_s = sys.getswitchinterval()
                sys.setswitchinterval(cls._usual_s / 10)
                gc.disable()
            cls._n_open += 1

    @classmethod
    def end(cls) -> None:
        with cls._lock:
            cls._n_open -= 1
            if cls._n_open == 0:
                gc.enable()
                sys.setswitchinterval(cls._usual_s)


def _lower_priority() -> None:
    # Per thread on Linux; elsewhere it would lower the priority of the whole process.
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
