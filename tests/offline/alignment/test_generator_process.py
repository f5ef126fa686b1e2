"""The generator's process: replaced when it dies, given up in the end."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from offline.alignment import generator_process
from offline.alignment.generator_process import GeneratorDied, GeneratorProcess

PATIENCE_S = 60.0
# Loads nothing, so that it starts at once.
PYTHON = (sys.executable, "-I", "-S", "-c")
DYING = "import sys; print('a line\\nout of memory\\n', file=sys.stderr); sys.exit(3)"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator_process, "FIRST_PAUSE_S", 0.02)


def open_process(program: str, folder: Path, **environment: str) -> GeneratorProcess:
    return GeneratorProcess([*PYTHON, program], folder / "generator.log", environment)


def tend_until_it_gives_up(process: GeneratorProcess) -> str:
    until_s = time.monotonic() + PATIENCE_S
    with pytest.raises(GeneratorDied) as raised:
        while time.monotonic() < until_s:
            process.tend()
            time.sleep(0.005)
    return str(raised.value)


def test_one_that_dies_at_once_is_given_up_after_growing_pauses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    message = tend_until_it_gives_up(open_process(DYING, tmp_path))
    assert message == (
        "the generator of texts ended with exit code 3, for the 5th time without a batch; its last "
        f"line: 'out of memory' (see {tmp_path / 'generator.log'})"
    )
    assert (tmp_path / "generator.log").read_text().count("out of memory") == 5
    pauses = [line.partition(" in ")[2].partition(" s ")[0] for line in caplog.messages]
    assert pauses == ["0.0", "0.0", "0.1", "0.2"]


def test_deaths_before_a_batch_do_not_count(tmp_path: Path) -> None:
    process = open_process("", tmp_path)
    for _ in range(3):
        until_s = time.monotonic() + PATIENCE_S
        while process._n_deaths < 2 and time.monotonic() < until_s:
            process.tend()
        process.has_worked()
    assert "for the 5th time without a batch; its last line: none" in tend_until_it_gives_up(
        process
    )


def test_the_end_of_it_is_waited_for_even_if_it_does_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator_process, "_END_S", 0.1)
    program = (
        "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(os.environ['GIVEN'], file=sys.stderr, flush=True); time.sleep(60)"
    )
    process = open_process(program, tmp_path, GIVEN="a variable")
    process.tend()
    until_s = time.monotonic() + PATIENCE_S
    while not (tmp_path / "generator.log").read_text() and time.monotonic() < until_s:
        time.sleep(0.005)
    assert (tmp_path / "generator.log").read_text() == "a variable\n"
    child = process._process
    assert child is not None
    process.end()
    assert child.returncode == -9
    process.end()  # once more does no harm
