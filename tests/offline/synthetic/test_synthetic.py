from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from app.model.model import load_model
from app.model.retrieval import Retriever
from model_store.bundle import MODEL, Bundle
from offline.synthetic import training, world
from offline.synthetic.__main__ import main
from offline.synthetic.model import CONFIG
from offline.synthetic.training import trained_model
from offline.synthetic.vectors import repeat_rows
from offline.synthetic.world import World, histories_of_lengths


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("made") / "bundle"
    arguments = ["--items", "1500", "--out", str(folder), "--no-trained", "--knowledge"]
    assert main([*arguments, "--exact-up-to", "1000"]) == 0
    return Bundle.open(folder)


def test_the_bundle_can_be_served(bundle: Bundle) -> None:
    model = load_model(bundle)
    assert model.table.shape == (1_501, 64)
    assert model.fresh_projection is not None
    assert bundle.version == "synthetic-1500-knowledge-clustered-0"


def test_users_have_the_stated_histories(bundle: Bundle) -> None:
    histories = [history.items for _, history in bundle.users()]
    assert Counter(map(len, histories)) == {5: 250, 20: 250, 50: 250, 200: 250}
    assert [len(items) for items in histories[:5]] == [5, 20, 50, 200, 5]
    for items in histories:
        assert len(set(items.tolist())) == len(items)
        assert items.min() >= 1
        assert items.max() <= 1_500


def test_one_item_in_a_hundred_is_rare(bundle: Bundle) -> None:
    shelf = bundle.attributes.get("shelf")
    assert shelf
    counts = Counter(map(str, shelf.values))
    assert counts["rare"] == 15
    assert len(counts) == 4
    assert bundle.attributes.row(7, ["title"]) == {"title": "Item 7"}


def test_the_retriever_finds_the_golden_answers(bundle: Bundle) -> None:
    retriever = Retriever.open(bundle, bundle.item_table)
    assert retriever
    model = load_model(bundle)
    seen = [model.ids.indices(golden.history)[0] for golden in bundle.golden]
    wanted = [model.ids.indices(golden.item_ids)[0] for golden in bundle.golden]
    users = np.concatenate([model.sequence.user_vectors([history]) for history in seen])
    assert retriever.verify(users, wanted, seen) >= 0.95


def test_sizes_that_cannot_be_created_are_rejected(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--items", "9", "--out", "x"]) == 1
    assert main(["--items", "1500", "--out", str(bundle.folder)]) == 1
    issues = capsys.readouterr().err.splitlines()
    assert issues == [
        "offline.synthetic: --items 9: at least 100",
        f"offline.synthetic: {bundle.folder}: there is a bundle already",
    ]


def test_a_bundle_has_a_reranker_of_so_many_layers(
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def copy_graph(_backbone: object, _size: int, path: Path) -> None:
        """To export it takes seconds; the untrained network is the same for all catalogues."""
        shutil.copy(bundle.folder / MODEL, path)

    monkeypatch.setattr("offline.synthetic.bundle.export_graph", copy_graph)
    found = {}
    for layers in ("0", "1"):
        folder = tmp_path / layers
        assert (
            main(["--items", "200", "--no-trained", "--reranker", layers, "--out", str(folder)])
            == 0
        )
        found[layers] = Bundle.open(folder)
    endpoint, own = found["0"].manifest.reranker, found["1"].manifest.reranker
    assert endpoint is not None
    assert endpoint.graph is None
    assert own is not None
    assert own.graph is not None
    # Users have histories of 5, 20, 50 and 100 items here; 200 items are too few for longer ones.
    assert own.weighting.tail_interactions == 5
    vectors = found["1"].user_vectors
    assert vectors is not None
    sequence = load_model(found["1"]).sequence
    [expected] = sequence.user_vectors([next(found["1"].users())[1].items])
    np.testing.assert_allclose(vectors[0], expected / np.linalg.norm(expected), atol=1e-5)
    assert main(["--items", "200", "--reranker", "31", "--out", str(tmp_path / "x")]) == 1
    assert "offline.synthetic: --reranker 31: 0 to 30 layers" in capsys.readouterr().err


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
