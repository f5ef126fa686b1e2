from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.errors import ConfigError, InputError
from offline.artifact import Facts, Stage, hash_inputs, hash_sources, locked, run_stage

STAGE = Stage("words", ["artifact.py"], {"n": 2}, {"data": "abc"})


class Counting:
    """Writes a file and counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> Facts:
        self.calls += 1
        (folder / "out.txt").write_text(f"made {self.calls}")
        return {"made": self.calls}


def test_a_stage_runs_once_while_nothing_changes(tmp_path: Path) -> None:
    produce, said = Counting(), []
    first = run_stage(STAGE, tmp_path, produce, said.append)
    again = run_stage(STAGE, tmp_path, produce, said.append)
    assert produce.calls == 1
    assert again == first
    assert again.path("out.txt").read_text() == "made 1"
    assert said[-1] == "words: unchanged"


@pytest.mark.parametrize(
    "changed", [replace(STAGE, config={"n": 3}), replace(STAGE, inputs={"data": "abd"})]
)
def test_another_config_or_input_makes_it_anew(tmp_path: Path, changed: Stage) -> None:
    produce = Counting()
    run_stage(STAGE, tmp_path, produce)
    assert run_stage(changed, tmp_path, produce).path("out.txt").read_text() == "made 2"


def test_a_file_that_was_tampered_with_is_not_believed(tmp_path: Path) -> None:
    produce = Counting()
    artifact = run_stage(STAGE, tmp_path, produce)
    artifact.path("out.txt").write_text("other")
    run_stage(STAGE, tmp_path, produce)
    assert produce.calls == 2


def test_a_failed_stage_leaves_the_last_good_one_and_nothing_to_believe(tmp_path: Path) -> None:
    def fail(folder: Path) -> Facts:
        (folder / "half.txt").write_text("half")
        raise InputError("no")

    run_stage(STAGE, tmp_path, Counting())
    changed = replace(STAGE, config={"n": 3})
    with pytest.raises(InputError):
        run_stage(changed, tmp_path, fail)
    assert (tmp_path / "words" / "out.txt").read_text() == "made 1"

    seen: list[str] = []
    run_stage(changed, tmp_path, lambda folder: note_files(folder, seen))
    assert "half.txt" in seen  # what was written is there for the same stage to go on with
    seen.clear()
    with pytest.raises(InputError):
        run_stage(replace(STAGE, config={"n": 4}), tmp_path, fail)
    run_stage(STAGE, tmp_path, lambda folder: note_files(folder, seen))
    assert "half.txt" not in seen  # but not for another


def test_a_kill_at_any_point_is_recovered_from(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from offline.artifact import Stage, run_stage\n"
        "def produce(folder):\n"
        "    n = len(list(folder.glob('part*')))\n"
        "    for part in range(n, 20):\n"
        "        (folder / f'part{part}').write_text(str(part)); time.sleep(0.01)\n"
        "    return {}\n"
        "stage = Stage('parts', ['artifact.py'], {}, {})\n"
        "while True: run_stage(stage, Path(sys.argv[1]), produce)\n"
    )
    for seen_parts in (1, 5, 12, 20):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.DEVNULL
        ) as process:
            while len(list(tmp_path.rglob("part[0-9]*"))) < seen_parts:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
    artifact = run_stage(Stage("parts", ["artifact.py"], {}, {}), tmp_path, make_parts)
    parts = sorted(path.name for path in artifact.folder.glob("part*"))
    assert parts == sorted(f"part{n}" for n in range(20))


def note_files(folder: Path, seen: list[str]) -> Facts:
    seen.extend(path.name for path in folder.iterdir())
    return {}


def make_parts(folder: Path) -> Facts:
    for part in range(20):
        (folder / f"part{part}").write_text(str(part))
    return {}


def test_changed_code_changes_the_fingerprint() -> None:
    assert STAGE.fingerprint() != replace(STAGE, sources=["progress.py"]).fingerprint()
    with pytest.raises(FileNotFoundError):
        replace(STAGE, sources=["no_such_part"]).fingerprint()


@pytest.mark.parametrize("name", ["code.py", "prompts/v1.txt", "bundled/answers.jsonl.gz"])
def test_whatever_of_a_part_decides_a_result_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("offline.artifact._PACKAGE", tmp_path)
    changed = tmp_path / "part" / name
    changed.parent.mkdir(parents=True)
    changed.write_text("1")
    before = hash_sources(["part"])
    (tmp_path / "part" / "code.pyc").write_text("compiled")
    assert hash_sources(["part"]) == before
    changed.write_text("2")
    assert hash_sources(["part"]) != before


def test_inputs_are_hashed_by_content(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    before = hash_inputs([tmp_path / "a.csv"])
    assert hash_inputs([tmp_path]) == before
    (tmp_path / "a.csv").write_text("2")
    assert hash_inputs([tmp_path / "a.csv"]) != before
    with pytest.raises(InputError, match=r"b\.csv"):
        hash_inputs([tmp_path / "b.csv"])


def test_two_builds_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "out"),
        pytest.raises(ConfigError, match="another build"),
        locked(tmp_path / "out"),
    ):
        pass
