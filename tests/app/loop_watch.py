"""How long the event loop is held by one callback, in CPU time: other programs don't count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

MAX_HELD_S = 0.005


@dataclass
class Held:
    """The longest callback so far."""

    seconds: float = 0.0
    callback: str = ""


@contextmanager
def watched_loops() -> Iterator[Held]:
    """Watch every event loop of this process."""
    held = Held()
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        begun_s = time.thread_time()
        run(handle)
        seconds = time.thread_time() - begun_s
        if seconds > held.seconds:
            held.seconds, held.callback = seconds, repr(handle)[:300]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        yield held
