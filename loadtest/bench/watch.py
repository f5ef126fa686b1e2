"""Observes a server under load (memory, CPU time), and calls actions at set times."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from loadtest.memory import rss_bytes_of


class Watch(ABC):
    """Looks at fixed intervals, in a thread; use as a context manager."""

    interval_s: float

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=type(self).__name__)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.look()  # includes the time since the last look

    @abstractmethod
    def look(self) -> bool:
        """Look once; False where there is nothing more to see."""

    def _run(self) -> None:
        while self.look() and not self._ended.wait(self.interval_s):
            pass


@dataclass
class MemoryWatch(Watch):
    """RSS of some processes, Linux only; one look takes some 50 µs of the client's time."""

    pids: list[int]
    interval_s: float = 0.5
    rss_bytes: list[int] = field(default_factory=list)

    def look(self) -> bool:
        """See `Watch.look`."""
        if not self.pids:
            return False
        try:
            self.rss_bytes.append(rss_bytes_of(self.pids))
        except OSError:  # one of them has ended, which shows elsewhere
            return False
        return True

    def summary(self) -> dict[str, int]:
        """RSS at the start, at the end and at most; empty where it isn't Linux."""
        if not self.rss_bytes:
            return {}
        return {
            "start_bytes": self.rss_bytes[0],
            "end_bytes": self.rss_bytes[-1],
            "max_bytes": max(self.rss_bytes),
        }


@dataclass
class CpuWatch(Watch):
    """How busy a server is.

    Attributes:
        read: returns the CPU seconds that the server has used so far, None where unknown.
        seen: pairs of a second of perf_counter and the CPU seconds used by then.
    """

    read: Callable[[], float | None]
    interval_s: float = 0.25
    seen: list[tuple[float, float]] = field(default_factory=list)

    def look(self) -> bool:
        """See `Watch.look`."""
        used_s = self.read()
        if used_s is None:
            return False
        self.seen.append((time.perf_counter(), used_s))
        return True

    def shares(self, edges_s: Sequence[float]) -> list[float]:
        """Share of one core between consecutive edges (seconds of perf_counter); [] if unknown."""
        if not self.seen:
            return []
        times_s, used_s = zip(*self.seen, strict=True)
        at_edges_s = np.interp(edges_s, times_s, used_s)
        return [round(float(share), 3) for share in np.diff(at_edges_s) / np.diff(edges_s)]


@dataclass
class Timetable:
    """Calls an action at set times after the beginning, in a thread; use as a context manager.

    Attributes:
        times_s: when each call is due, in seconds after the beginning.
        action: called with the number of the call, from 0 on; returns None, or a fault.
        done_s: beginning and end of each call, in seconds of perf_counter.
        faults: the faults that actions returned.
        begun_s: when the context was entered, in seconds of perf_counter.
    """

    times_s: list[float]
    action: Callable[[int], str | None]
    done_s: list[tuple[float, float]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    begun_s: float = 0.0

    def until_done(self, starts_s: Iterable[float], planned_s: float) -> Iterator[float]:
        """Starts of requests, for as long as calls are due or under way, and for `planned_s`.

        On a busy machine calls take longer than was planned, and the load must outlast them.

        Args:
            starts_s: ascending, in seconds after the beginning; more than are wanted.
            planned_s: in seconds after the beginning.
        """
        after_s = planned_s - self.times_s[-1] if self.times_s else 0.0
        for start_s in starts_s:
            if len(self.done_s) == len(self.times_s):
                ended_s = self.done_s[-1][1] - self.begun_s if self.done_s else 0.0
                if start_s > max(planned_s, ended_s + after_s):
                    return
            yield start_s

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self.begun_s = time.perf_counter()
        self._thread = threading.Thread(target=self._run, daemon=True, name="timetable")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for number, due_s in enumerate(self.times_s):
            if self._ended.wait(max(0.0, self.begun_s + due_s - time.perf_counter())):
                return
            begun_s = time.perf_counter()
            fault = self.action(number)
            self.done_s.append((begun_s, time.perf_counter()))
            if fault is not None:
                self.faults.append(fault)
