"""A machine's workers load versions one after another, so that few of them are slow at a time."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.model.background import is_yielding, usable_cores, yield_cpu

LONGEST_WAIT_S = 20.0
"""Then it goes on beside others: a worker may be stopped in a debugger while it has a slot."""
POLL_S = 0.02
CORES_A_LOAD = 2


def slot_names() -> list[str]:
    """Names of the slots, one for every two cores: this user's services share them."""
    n_slots = max(1, usable_cores() // CORES_A_LOAD)
    return [f"\0longtail-load-{os.getuid()}-{number}" for number in range(n_slots)]


@contextmanager
def load_slot() -> Iterator[None]:
    """Wait for a slot while others load, in a thread that yields to requests; elsewhere nothing.

    A thread of the lowest priority that is preempted while it has the interpreter holds up its
    process's requests. Loads in all workers at once keep all cores busy, and that is when it is
    preempted. A slot is a bound socket with an abstract name, which is no file and goes with its
    process, however that ends. Only Linux has such names; elsewhere nobody waits.

    Raises:
        Stopped: the load is no longer needed.
    """
    held = _wait_for_slot() if is_yielding() and sys.platform == "linux" else None
    try:
        yield
    finally:
        if held is not None:
            held.close()


def _wait_for_slot() -> socket.socket | None:
    deadline_s = time.monotonic() + LONGEST_WAIT_S
    while (slot := _free_slot()) is None and time.monotonic() < deadline_s:
        yield_cpu()
        time.sleep(POLL_S)
    return slot


def _free_slot() -> socket.socket | None:
    for name in slot_names():
        slot = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            slot.bind(name)
        except OSError:  # another has it
            slot.close()
        else:
            return slot
    return None
