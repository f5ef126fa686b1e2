"""A training in two processes is the training in one, and survives what may happen to it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from offline.recommender.sequential import SequenceRecommender
from offline.training.checkpoint import load_checkpoint
from offline.training.group import ALONE, Group, current, launched_group
from tests.offline.behaviour.world import make_encoder
from tests.offline.training import group_children
from tests.offline.training.group_children import EPOCHS
from tests.offline.training.processes import SIZE, join, start
from tests.offline.training.watched import CASES, watch, watch_all

pytestmark = pytest.mark.slow

CHECKPOINT = "training.safetensors"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n_rows", [0, 1, 6, 7, 20])
def test_each_row_is_in_one_part(n_rows: int, size: int) -> None:
    parts = [range(n_rows)[Group(rank, size).part_of(n_rows)] for rank in range(size)]
    assert [row for part in parts for row in part] == [*range(n_rows)]


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")  # of another launcher
    with launched_group() as group:
        assert group is ALONE is current()
        assert group.add(3.0) == group.first(3.0) == 3.0


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("group")
    join(start(watch_all, folder))
    return folder


@pytest.mark.parametrize("case", CASES)
def test_each_step_is_that_of_one_process(case: str, together: Path) -> None:
    wanted = watch(case)
    for rank in range(SIZE):
        found = np.load(together / f"{case} {rank}.npz")
        np.testing.assert_allclose(found["losses"], wanted["losses"], atol=1e-5, rtol=0)
        np.testing.assert_allclose(found["weights"], wanted["weights"], atol=1e-5, rtol=0)
        np.testing.assert_allclose(found["figures"], wanted["figures"], atol=1e-5)
        assert found["best"] == wanted["best"]


def epochs_done(folder: Path) -> int:
    found = load_checkpoint(folder / CHECKPOINT)
    return len(found[1]["record"]["epochs"]) if found else 0


def test_killed_they_go_on_to_the_same_model(tmp_path: Path) -> None:
    children = start(group_children.train_until_killed, tmp_path, EPOCHS // 2)
    deadline = time.monotonic() + 60
    while epochs_done(tmp_path) < 2:
        assert time.monotonic() < deadline, "the children train too slowly"
        time.sleep(0.005)
    for child in children:
        child.kill()
    join(children, killed=True)
    assert 2 <= epochs_done(tmp_path) < EPOCHS
    join(start(group_children.train, tmp_path))
    names = [f"{name}-{rank}" for name in ("whole", "resumed") for rank in range(SIZE)]
    first, *others = [SequenceRecommender.load(tmp_path / name) for name in names]
    for model in others:
        np.testing.assert_array_equal(model.item_table, first.item_table)
        assert [e.loss for e in model.record.epochs] == [e.loss for e in first.record.epochs]


def test_a_lost_process_ends_the_others_with_a_line(tmp_path: Path) -> None:
    join(start(group_children.lose_the_other, tmp_path))
    told = (tmp_path / "error").read_text()
    assert told.startswith("another process of the training ended, or can't be reached")
    # Of a connection with bytes that nobody had read, the system says that it was reset.
    reason = r"(Connection closed by peer|Read error \[.*\]:\d+: Connection reset by peer)"
    assert re.search(rf"the same command goes on where it stopped \({reason}", told), told
    assert "\n" not in told


def test_the_first_process_runs_a_stage_and_all_run_a_training(tmp_path: Path) -> None:
    join(start(group_children.run_stages, tmp_path))
    notes = [json.loads((tmp_path / f"notes-{rank}.json").read_text()) for rank in range(SIZE)]
    assert notes[0][:3] == [
        ["1", "noted: running"],
        [str(SIZE), "trained: running"],
        [str(SIZE), "trained: unchanged"],
    ]
    assert [note[0] for note in notes[1][:3]] == ["1", str(SIZE), str(SIZE)]
    assert len([*tmp_path.glob("ran-noted-*")]) == 1
    assert len([*tmp_path.glob("ran-trained-*")]) == SIZE
    assert notes[0][3] == ""
    assert "process 1 doesn't see" in notes[1][3]
    assert "all processes need one folder" in notes[1][3]


def test_a_sharded_table_is_whole_in_a_checkpoint(tmp_path: Path) -> None:
    """One process goes on where two stopped, and two where it did."""
    join(start(group_children.train_sharded, tmp_path, "two", 2))
    alone = group_children.sharded_model(4).fit(group_children.small_cycle(), tmp_path)
    join(start(group_children.train_sharded, tmp_path, "more", 6))
    first, second, third = (
        SequenceRecommender.load(tmp_path / name) for name in ("two-0", "more-0", "more-1")
    )
    times = [epoch.train_s for epoch in second.record.epochs]
    assert times[:4] == [epoch.train_s for epoch in alone.record.epochs]
    assert times[:2] == [epoch.train_s for epoch in first.record.epochs]
    wanted = group_children.sharded_model(6).fit(group_children.small_cycle())
    for model in (second, third):
        np.testing.assert_allclose(model.item_table, wanted.item_table, atol=1e-5)


def test_a_text_encoder_is_tuned_as_by_one_process(tmp_path: Path) -> None:
    encoder = make_encoder(tmp_path / "encoder")
    (tmp_path / "one").mkdir()
    group_children.tune(0, tmp_path / "one", encoder)
    join(start(group_children.tune, tmp_path / "two", encoder))
    wanted = json.loads((tmp_path / "one" / "records-0.json").read_text())
    for rank in range(SIZE):
        found = json.loads((tmp_path / "two" / f"records-{rank}.json").read_text())
        for stage in ("ft1", "ft2"):
            for name in ("loss", "figure"):
                pairs = [
                    (epoch[name], other[name])
                    for epoch, other in zip(
                        found[stage]["epochs"], wanted[stage]["epochs"], strict=True
                    )
                    if other[name] is not None
                ]
                assert pairs
                np.testing.assert_allclose(*zip(*pairs, strict=True), atol=1e-5)
    for stage in ("ft1", "ft2"):
        one, two = (
            load_file(tmp_path / name / stage / "model.safetensors") for name in ("one", "two")
        )
        assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5
    assert not [*(tmp_path / "two").glob("*.safetensors")]
