"""Several workers run the tests at once, but not beside those that measure."""

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
    """Another worker that takes one turn and notes when it had it."""

    def work() -> None:
        worker = MachineLock(run)
        with worker.take(alone=alone):
            seen.append(name)
        worker.close()

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)  # it is in, or waits
    yield
    thread.join(10)
    assert not thread.is_alive()


def test_turns_are_taken_beside_others(run: str) -> None:
    mine, seen = MachineLock(run), []
    with mine.take(alone=False), started(run, "other", seen, alone=False):
        assert seen == ["other"]
    mine.close()


def test_a_turn_alone_waits_for_those_before_and_goes_before_those_after(run: str) -> None:
    mine, seen = MachineLock(run), []
    turn = mine.take(alone=False)
    turn.__enter__()
    with started(run, "alone", seen, alone=True), started(run, "late", seen, alone=False):
        assert seen == []
        turn.__exit__(None, None, None)
    assert seen == ["alone", "late"]
    mine.close()


def test_nobody_comes_in_beside_a_turn_alone(run: str) -> None:
    mine, seen = MachineLock(run), []
    turn = mine.take(alone=True)
    turn.__enter__()
    with started(run, "other", seen, alone=False):
        assert seen == []
        turn.__exit__(None, None, None)
    assert seen == ["other"]
    mine.close()
