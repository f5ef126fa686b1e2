"""Looks at a server from aside while it is loaded: its memory; and does things to it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from loadtest.memory import rss_bytes_of


@dataclass
class MemoryWatch:
    """RSS of some processes every so often, in a thread; use as a context manager.

    One look takes some 50 µs of the client's time.
    """

    pids: list[int]
    interval_s: float = 0.5
    rss_bytes: list[int] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True, name="memory")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def summary(self) -> dict[str, int]:
        """RSS at the start, at the end, and the most there was; empty off Linux."""
        if not self.rss_bytes:
            return {}
        return {
            "start_bytes": self.rss_bytes[0],
            "end_bytes": self.rss_bytes[-1],
            "max_bytes": max(self.rss_bytes),
        }

    def _look(self) -> None:
        while sys.platform == "linux":
            try:
                self.rss_bytes.append(rss_bytes_of(self.pids))
            except OSError:  # one of them has ended, which shows elsewhere
                return
            if self._ended.wait(self.interval_s):
                return


@dataclass
class Timetable:
    """Calls an action at set times after the beginning, in a thread; use as a context manager.

    Attributes:
        times_s: when each call is due, in seconds after the beginning.
        action: what is called, with the number of the call from 0 on; None when all went well,
            else what didn't.
        done_s: beginning and end of each call, in seconds of perf_counter.
        faults: what went wrong.
    """

    times_s: list[float]
    action: Callable[[int], str | None]
    done_s: list[tuple[float, float]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._begun_s = time.perf_counter()
        self._thread = threading.Thread(target=self._run, daemon=True, name="timetable")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for number, due_s in enumerate(self.times_s):
            if self._ended.wait(max(0.0, self._begun_s + due_s - time.perf_counter())):
                return
            begun_s = time.perf_counter()
            fault = self.action(number)
            self.done_s.append((begun_s, time.perf_counter()))
            if fault is not None:
                self.faults.append(fault)
