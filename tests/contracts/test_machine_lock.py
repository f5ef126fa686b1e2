"""Several workers run the tests at once, except while a test measures."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.machine_lock import MachineLock


@pytest.fixture
def run() -> str:
    return uuid.uuid4().hex


@contextmanager
def started(run: str, name: str, seen: list[str], *, alone: bool) -> Iterator[None]:
    """Another worker that holds the lock once and records when."""

    begun = threading.Event()

    def work() -> None:
        worker = MachineLock(run)
        begun.set()
        with worker.hold(alone=alone):
            seen.append(name)
        worker.close()

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    time.sleep(0.1)  # it holds the lock, or waits
    yield
    thread.join(60)
    assert not thread.is_alive()


def test_several_workers_hold_the_lock_together(run: str) -> None:
    mine, seen = MachineLock(run), []
    with mine.hold(alone=False), started(run, "other", seen, alone=False):
        assert seen == ["other"]
    mine.close()


def test_a_worker_alone_waits_for_earlier_ones_and_precedes_later_ones(run: str) -> None:
    mine, seen = MachineLock(run), []
    held = mine.hold(alone=False)
    held.__enter__()
    with started(run, "alone", seen, alone=True), started(run, "late", seen, alone=False):
        assert seen == []
        held.__exit__(None, None, None)
    assert seen == ["alone", "late"]
    mine.close()


def test_others_wait_for_a_worker_alone(run: str) -> None:
    mine, seen = MachineLock(run), []
    held = mine.hold(alone=True)
    held.__enter__()
    with started(run, "other", seen, alone=False):
        assert seen == []
        held.__exit__(None, None, None)
    assert seen == ["other"]
    mine.close()
