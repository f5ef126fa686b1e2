"""Worlds that are made up, and models that are trained in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offline.synthetic import training, world
from offline.synthetic.model import CONFIG
from offline.synthetic.training import trained_model
from offline.synthetic.vectors import repeat_rows
from offline.synthetic.world import World, histories_of_lengths


def test_people_stay_near_home() -> None:
    world = World.of_size(5_000, seed=1)
    clusters = world.clusters()
    assert sorted(world.item_at.tolist()) == list(range(1, 5_001))
    people = world.sequences(200, 40, np.random.default_rng(0))
    visited = [len(set(clusters[person].tolist())) for person in people]
    assert np.median(visited) < 12 < world.n_clusters
    same = world.sequences(200, 40, np.random.default_rng(0))
    np.testing.assert_array_equal(people, same)


def test_a_history_is_as_long_as_asked_even_in_a_tiny_world() -> None:
    world = World.of_size(100, seed=1)
    histories = histories_of_lengths(world, np.array([1, 50, 7]), np.random.default_rng(0))
    assert [len(set(history.tolist())) for history in histories] == [1, 50, 7]


def test_a_larger_world_repeats_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "MAX_DISTINCT", 500)
    small, large = World.of_size(500, seed=2), World.of_size(1_234, seed=2)
    assert sorted(large.item_at.tolist()) == list(range(1, 1_235))
    originals = (np.arange(1_234) % 500) + 1
    np.testing.assert_array_equal(large.clusters()[1:], small.clusters()[originals])

    rng = np.random.default_rng(0)
    table = rng.normal(size=(501, 8)).astype(np.float32)
    table[0] = 0
    rows = repeat_rows(table, small.clusters(), large)
    np.testing.assert_array_equal(rows[:501], table)
    apart = np.linalg.norm(rows[501:] - table[originals[500:]], axis=1)
    lengths = np.linalg.norm(table[originals[500:]], axis=1)
    assert 0 < np.median(apart / lengths) < 1


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(training, "_FEWEST_STEPS", 6)
    monkeypatch.setattr(training, "_BATCH_STEPS", 400)
    monkeypatch.setattr(training, "_CHECKPOINT_S", 0.0)
    return tmp_path / "synthetic"


def test_a_training_that_was_stopped_goes_on_to_the_same_end(
    short_training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.of_size(300, seed=3)
    whole = trained_model(world)
    (kept,) = short_training.iterdir()
    kept.unlink()

    step = training._Training._step

    def stop_at_four(self: training._Training) -> float:
        if self.done == 4:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patched:
        patched.setattr(training._Training, "_step", stop_at_four)
        with pytest.raises(KeyboardInterrupt):
            trained_model(world)
    resumed = trained_model(world)
    np.testing.assert_array_equal(resumed.item_table, whole.item_table)
    np.testing.assert_array_equal(resumed.popularity, whole.popularity)
    assert resumed.metrics == whole.metrics


def test_a_trained_model_comes_from_the_cache(
    short_training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.of_size(300, seed=3)
    first = trained_model(world)
    assert not first.item_table[0].any()
    assert first.item_table.shape == (301, CONFIG.embedding_size)
    assert set(first.metrics) == {
        "hit_rate_at_10",
        "popularity_hit_rate_at_10",
        "training_interactions",
    }
    monkeypatch.delattr(training._Training, "_step")
    np.testing.assert_array_equal(trained_model(world).item_table, first.item_table)


@pytest.mark.slow
def test_training_learns_what_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("offline.synthetic.training._BATCH_STEPS", 1_600)
    monkeypatch.setattr("offline.synthetic.training._FEWEST_STEPS", 100)
    metrics = trained_model(World.of_size(600, seed=0)).metrics
    assert metrics["hit_rate_at_10"] > 4 * metrics["popularity_hit_rate_at_10"]
    assert metrics["hit_rate_at_10"] > 0.15
