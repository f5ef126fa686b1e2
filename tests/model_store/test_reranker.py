"""A bundle with a reranker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from model_store.bundle import Bundle
from model_store.bundle_writer import copy_bundle
from tests.synthetic_bundle import make_bundle
from tests.synthetic_reranker import LAYOUT, expected_label_scores


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("reranker") / "bundle", with_reranker=True)


def test_it_survives_a_copy(bundle: Bundle, tmp_path: Path) -> None:
    copy = Bundle.open(copy_bundle(bundle, tmp_path / "copy", version="another").folder)
    assert copy.manifest.reranker == bundle.manifest.reranker
    assert copy.has("reranker.onnx")


def test_user_vectors_are_unit_rows_in_the_order_of_the_users(bundle: Bundle) -> None:
    vectors = bundle.user_vectors
    assert vectors is not None
    assert vectors.shape == (len(bundle.histories().user_ids), 8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_bundle_without_one_has_none(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain")
    assert plain.manifest.reranker is None
    assert plain.user_vectors is None


def test_the_graph_of_the_tests_scores_candidates_by_their_titles(bundle: Bundle) -> None:
    info = bundle.manifest.reranker
    assert info is not None
    assert info.graph is not None
    titles = ["Drama 1", "Western 2", "Nothing 3"]
    shown = [2, 0, 1]
    prompt = LAYOUT.listwise(["Horror 4"], titles, shown)
    tokenizer = Tokenizer.from_file(str(bundle.folder / "reranker_tokenizer.json"))
    tokens = np.array([tokenizer.encode(prompt).ids])
    length = tokens.shape[1]
    session = onnxruntime.InferenceSession(
        bundle.folder / "reranker.onnx", providers=["CPUExecutionProvider"]
    )
    [logits] = session.run(
        ["logits"],
        {
            "tokens": tokens,
            "positions": np.arange(length)[None],
            "mask": np.tri(length, dtype=bool)[None],
            "read_at": np.array([[length - 1]]),
        },
    )
    assert logits.shape == (1, 1, info.graph.n_rows)
    scores = expected_label_scores(titles)
    assert logits[0, 0, :3] == pytest.approx([scores[place] for place in shown])
