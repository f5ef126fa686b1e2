"""Trainer and generator as two processes, killed at any point."""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from offline.alignment import generator_process
from offline.alignment.asynchronous import AsynchronousSource
from offline.alignment.config import AlignmentConfig
from tests.offline.alignment import tiny_generator, tiny_trainer
from tests.offline.alignment.tiny_models import TinyLearner, drawn_target
from tests.offline.alignment.tiny_trainer import open_source, read_journal, tiny_config

PATIENCE_S = 60.0


def wait_for(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.002)


def generators(folder: Path) -> list[psutil.Process]:
    """Processes of generators that use a folder, whoever their parent is."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = process.cmdline()
            if tiny_generator.__name__ in line and str(folder) in line:
                found.append(process)
    return found


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator_process, "FIRST_PAUSE_S", 0.01)


@contextlib.contextmanager
def opened(
    folder: Path, learner: TinyLearner, config: AlignmentConfig, delay_s: float = 0.0
) -> Iterator[AsynchronousSource]:
    source = open_source(folder, learner, config, delay_s)
    try:
        yield source
    finally:
        source.close()
        assert generators(folder) == []


def test_steps_come_in_order_with_promised_staleness_though_the_generator_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(steps=40, refresh_every=7, queue_size=3)
    learner, staleness = TinyLearner(), []
    with opened(tmp_path, learner, config) as source:
        for step in range(1, config.steps + 1):
            experiences = source.take(step)
            assert {each.target for each in experiences} == {drawn_target(step)}
            [snapshot] = {each.snapshot for each in experiences}
            assert snapshot % config.refresh_every == 0
            staleness.append(step - 1 - snapshot)
            learner.update(experiences)
            source.updated(step, learner)
            if step == 15:
                [process] = generators(tmp_path)
                process.kill()
        figures = source.figures()
    assert "the generator of texts ended with exit code -9; another is started" in caplog.text
    assert min(staleness) >= 0
    assert max(staleness) <= config.queue_size + config.refresh_every - 1
    assert staleness[:4] == [0, 1, 2, 3]
    assert figures["asynchronous/staleness_mean"] == pytest.approx(sum(staleness) / config.steps)
    assert figures["asynchronous/staleness_max"] == max(staleness)
    assert figures["asynchronous/waiting_batches"] == 0


@pytest.mark.parametrize("slow", ["trainer", "generator"])
def test_the_faster_one_waits_for_the_other(tmp_path: Path, slow: str) -> None:
    learner = TinyLearner(delay_s=0.03 if slow == "trainer" else 0.0)
    config = tiny_config(steps=15)
    with opened(tmp_path, learner, config, 0.03 if slow == "generator" else 0.0) as source:
        for step in range(1, 16):
            learner.update(source.take(step))
            assert source.figures()["asynchronous/waiting_batches"] <= config.queue_size
            source.updated(step, learner)
        figures = source.figures()
    waits = figures["asynchronous/generator_waits"], figures["asynchronous/trainer_waits"]
    assert (waits[0] > 0.5) == (slow == "trainer")
    if slow == "generator":
        assert waits[1] > 0.5


@contextlib.contextmanager
def trainer_of(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that trains; it is killed at the end of the context."""
    with subprocess.Popen([sys.executable, "-m", tiny_trainer.__name__, str(folder)]) as trainer:
        try:
            yield trainer
        finally:
            trainer.send_signal(signal.SIGKILL)


def has_used(folder: Path, step: int) -> bool:
    path = folder / "journal"
    return path.exists() and f'"step": {step},' in path.read_text()


def test_a_killed_trainer_goes_on_without_using_anything_twice(tmp_path: Path) -> None:
    """The journal without what was lost with a trainer is each update once."""
    for until in (7, 23):
        with trainer_of(tmp_path):
            wait_for(functools.partial(has_used, tmp_path, until))
        wait_for(lambda: generators(tmp_path) == [])  # it ends with its trainer
    with trainer_of(tmp_path) as trainer:
        assert trainer.wait(PATIENCE_S) == 0
    assert generators(tmp_path) == []

    used: list[dict[str, int]] = []
    n_lost = 0
    for line in read_journal(tmp_path):
        if "begins" in line:
            n_lost += len(used) - 2 * line["begins"]
            del used[2 * line["begins"] :]
        else:
            used.append(line)
            assert line["snapshot"] < line["step"]
    assert n_lost > 0
    assert [line["step"] for line in used] == [step for step in range(1, 41) for _ in "xy"]
    assert all(line["target"] == drawn_target(line["step"]) for line in used)
