"""Measures how long one callback takes in the event loop of a service that listens."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass
class Watchdog:
    """The longest callback since it was last asked; CPU time, as others share the cores."""

    longest_s: float = 0.0
    what: str = ""

    def take(self) -> tuple[float, str]:
        """The longest callback in milliseconds, and what it was; a new measurement begins."""
        found = self.longest_s * 1e3, self.what
        self.longest_s, self.what = 0.0, ""
        return found


@contextmanager
def watched_loops() -> Iterator[Watchdog]:
    """Watch asyncio's own event loops of other threads; uvloop's callbacks can't be seen."""
    watchdog, here = Watchdog(), threading.get_ident()
    run = asyncio.Handle._run

    def timed(handle: Any) -> None:
        begun_s = time.thread_time()
        run(handle)
        took_s = time.thread_time() - begun_s
        if took_s > watchdog.longest_s and threading.get_ident() != here:
            watchdog.longest_s, watchdog.what = took_s, repr(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        yield watchdog
