"""Loads beside requests follow each other on a machine, and nothing makes one wait for ever."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from app.deployment import load_slot
from app.model.background import BackgroundThread, Stopped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="slots are Linux's")


@pytest.fixture(autouse=True)
def own_slots(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One slot, whatever the machine, that no service of another test holds."""
    names = [f"\0longtail-test-{os.getpid()}"]
    monkeypatch.setattr(load_slot, "slot_names", lambda: names)
    return names


@pytest.fixture
def held(own_slots: list[str]) -> Iterator[socket.socket]:
    """The slot, which is another process's until it is closed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slot:
        slot.bind(own_slots[0])
        yield slot


def load() -> float:
    with load_slot.load_slot():
        return time.monotonic()


def in_background(*, yields: bool = True) -> float:
    thread = BackgroundThread("load", yields=yields)
    loaded_s: float = asyncio.run(asyncio.wait_for(thread.run(load), 30.0))
    thread.stop(5.0)
    return loaded_s


def test_a_load_waits_until_another_process_has_loaded(held: socket.socket) -> None:
    released_s = []

    def release() -> None:
        released_s.append(time.monotonic())
        held.close()

    threading.Timer(0.3, release).start()
    assert in_background() >= released_s[0]


def test_a_slot_is_free_again_after_a_load_and_after_a_failed_one() -> None:
    def fail() -> None:
        with load_slot.load_slot():
            raise ValueError

    thread = BackgroundThread("load", yields=True)
    with pytest.raises(ValueError):  # noqa: PT011 - it is this test's own
        asyncio.run(thread.run(fail))
    thread.stop(5.0)
    begun_s = time.monotonic()
    assert in_background() - begun_s < load_slot.LONGEST_WAIT_S


def test_a_first_load_waits_for_nobody(held: socket.socket) -> None:
    assert in_background(yields=False) > 0
    assert held.fileno() >= 0


def test_a_load_goes_ahead_when_another_never_ends(
    held: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_slot, "LONGEST_WAIT_S", 0.1)
    assert in_background() > 0
    assert held.fileno() >= 0


def test_a_load_that_is_no_longer_needed_stops_waiting(held: socket.socket) -> None:
    stopped = threading.Event()

    def wait() -> None:
        try:
            load()
        except Stopped:
            stopped.set()
            raise

    async def cancel() -> None:
        task = asyncio.create_task(thread.run(wait))
        await asyncio.sleep(0.1)
        task.cancel()

    thread = BackgroundThread("load", yields=True)
    asyncio.run(cancel())
    assert stopped.wait(10.0)
    assert held.fileno() >= 0
    thread.stop(5.0)


def test_there_is_a_slot_for_every_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for n_cores, n_slots in ((1, 1), (2, 1), (9, 4)):
        monkeypatch.setattr(load_slot, "usable_cores", lambda n=n_cores: n)
        assert len(set(load_slot.slot_names())) == n_slots


def test_the_slot_of_a_killed_process_is_free(own_slots: list[str]) -> None:
    bind = "import socket, sys, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"
    code = f"{bind}; s.bind({own_slots[0]!r}); print('bound', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"bound\n"
        process.kill()
    begun_s = time.monotonic()
    assert in_background() - begun_s < load_slot.LONGEST_WAIT_S
