"""Bundles that are made up, from the command."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from app.model.model import load_model
from app.model.retrieval import Retriever
from model_store.bundle import MODEL, Bundle
from offline.synthetic.__main__ import main

pytestmark = pytest.mark.slow


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
