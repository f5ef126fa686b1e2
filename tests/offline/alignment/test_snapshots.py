"""Weights from the trainer to the generator."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import InputError
from offline.alignment.snapshots import Snapshots
from tests.offline.alignment.tiny_models import TinyLearner, TinySampler


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    snapshots = Snapshots(tmp_path / "snapshots")
    snapshots.begin()
    return snapshots


def test_the_newest_wins_and_old_ones_go(snapshots: Snapshots, tmp_path: Path) -> None:
    assert snapshots.newest() is None
    for step in (0, 50, 100, 1000):
        snapshots.publish(step, TinyLearner(step).save)
        newest = snapshots.newest()
        assert newest is not None
        assert newest.step == step
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == [
        "000000100",
        "000001000",
    ]


def test_one_that_is_being_removed_is_not_there_for_its_reader(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a generator takes files that are missing for a damaged snapshot, and ends."""
    remove = shutil.rmtree
    found: list[bool] = []

    def look_and_remove(path: Path, **options: Any) -> None:
        found.append(first.folder.exists())
        remove(path, **options)

    snapshots.publish(0, TinyLearner(0).save)
    first = snapshots.newest()
    assert first is not None
    monkeypatch.setattr(shutil, "rmtree", look_and_remove)
    for step in (1, 2):
        snapshots.publish(step, TinyLearner(step).save)
    assert found == [False]


def test_one_that_is_being_written_is_not_seen(snapshots: Snapshots) -> None:
    snapshots.publish(0, TinyLearner(0).save)
    seen = []

    def save(folder: Path) -> None:
        TinyLearner(50).save(folder)
        seen.append(snapshots.newest())

    snapshots.publish(50, save)
    assert [one.step for one in seen if one] == [0]


def test_a_new_beginning_removes_all_and_halves_too(snapshots: Snapshots, tmp_path: Path) -> None:
    def die(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    snapshots.publish(0, TinyLearner(0).save)
    with pytest.raises(KeyboardInterrupt):
        snapshots.publish(50, die)
    snapshots.begin()
    assert list((tmp_path / "snapshots").iterdir()) == []
    snapshots.publish(50, TinyLearner(50).save)


def test_a_reader_beside_a_fast_writer_reads_whole_ones_only(snapshots: Snapshots) -> None:
    """Every loaded folder holds what its name says, or is gone by now."""
    snapshots.publish(0, TinyLearner(0).save)
    last = 100

    def publish() -> None:
        for step in range(1, last + 1):
            snapshots.publish(step, TinyLearner(step).save)

    writer = threading.Thread(target=publish)
    writer.start()
    sampler, n_loaded = TinySampler(), 0
    while sampler.step < last:
        newest = snapshots.newest()
        assert newest is not None
        try:
            sampler.load(newest.folder)
        except InputError:
            assert not newest.folder.exists()
            continue
        assert sampler.step == newest.step
        n_loaded += 1
    writer.join()
    assert n_loaded > 1
