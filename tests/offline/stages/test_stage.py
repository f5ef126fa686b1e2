"""Laws of stages: when one runs, what is believed, and what a killed one leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from model_store.errors import InputError
from offline.artifact import Artifact, Facts
from offline.stages.stage import Stage, run_stage
from tests.offline.stages import parts_stage
from tests.offline.stages.parts_stage import PartsStage

DATA = Artifact(Path("data"), "abc", {})


class Words(Artifact):
    """Offers what is in its file."""

    def text(self) -> str:
        return self.path("out.txt").read_text()


@dataclass(frozen=True)
class WordsStage(Stage[Words]):
    """Writes how often it has run."""

    data: Artifact = DATA
    n: int = 2
    started: Callable[[Path], None] = lambda _: None
    runs: ClassVar[list[Path]] = []

    name = "words"

    @property
    def artifact(self) -> type[Words]:
        return Words

    @property
    def config(self) -> Facts:
        return {"n": self.n}

    def run(self, folder: Path) -> Facts:
        self.started(folder)
        self.runs.append(folder)
        (folder / "out.txt").write_text(f"made {len(self.runs)}")
        return {"made": len(self.runs)}


@pytest.fixture(autouse=True)
def _no_runs_yet() -> None:
    WordsStage.runs.clear()


def test_a_stage_runs_once_while_nothing_changes(tmp_path: Path) -> None:
    lines: list[str] = []
    first = run_stage(WordsStage(), tmp_path, lines.append)
    again = run_stage(WordsStage(), tmp_path, lines.append)
    assert len(WordsStage.runs) == 1
    assert again == first
    assert again.text() == "made 1"
    assert again.name == "words"
    assert lines[-1] == "words: unchanged"


@pytest.mark.parametrize(
    "changed", [WordsStage(n=3), WordsStage(data=replace(DATA, fingerprint="abd"))]
)
def test_another_config_or_input_runs_the_stage_again(tmp_path: Path, changed: WordsStage) -> None:
    run_stage(WordsStage(), tmp_path)
    assert run_stage(changed, tmp_path).text() == "made 2"


def test_a_file_that_was_tampered_with_is_not_believed(tmp_path: Path) -> None:
    run_stage(WordsStage(), tmp_path).path("out.txt").write_text("other")
    assert run_stage(WordsStage(), tmp_path).text() == "made 2"


def test_a_failed_stage_leaves_the_last_good_one_and_nothing_to_believe(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise InputError("no")

    seen: list[str] = []

    def look(folder: Path) -> None:
        seen[:] = [path.name for path in folder.iterdir()]

    run_stage(WordsStage(), tmp_path)
    with pytest.raises(InputError):
        run_stage(WordsStage(n=3, started=fail), tmp_path)
    assert (tmp_path / "words" / "out.txt").read_text() == "made 1"

    run_stage(WordsStage(n=3, started=look), tmp_path)
    assert "half.txt" in seen  # what was written is there for the same stage to go on with
    with pytest.raises(InputError):
        run_stage(WordsStage(n=4, started=fail), tmp_path)
    run_stage(WordsStage(started=look), tmp_path)
    assert "half.txt" not in seen  # but not for another


def test_a_kill_at_any_point_is_recovered_from(tmp_path: Path) -> None:
    command = [sys.executable, "-m", parts_stage.__name__, str(tmp_path)]
    for seen_parts in (1, 5, 12, 20):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while len(list(tmp_path.rglob("part[0-9]*"))) < seen_parts:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
    artifact = run_stage(PartsStage(), tmp_path)
    parts = sorted(path.name for path in artifact.folder.glob("part*"))
    assert parts == sorted(f"part{n}" for n in range(20))
