from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from offline.encoding import onnx_export
from offline.encoding.onnx_export import (
    OnnxTextEncoder,
    ParityError,
    TextEncoderReport,
    export_text_encoder,
)
from offline.encoding.sentence_encoder import SentenceEncoder
from tests.offline.encoding.tiny_encoder import DIMENSIONS, POSITIONS, make_tiny_bert

pytestmark = pytest.mark.slow

TEXTS = ["war", "a quiet film about children and toy friends", "", "drama , " * 50, "toy story"] * 5


@pytest.fixture(scope="module")
def exported(
    tiny_encoder: SentenceEncoder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TextEncoderReport]:
    folder = tmp_path_factory.mktemp("exported")
    return folder, export_text_encoder(tiny_encoder, folder, TEXTS)


def test_the_encoder_is_two_files(exported: tuple[Path, TextEncoderReport]) -> None:
    folder, report = exported
    assert sorted(path.name for path in folder.iterdir()) == ["text_encoder.onnx", "tokenizer.json"]
    assert report.model_bytes == (folder / "text_encoder.onnx").stat().st_size


def test_the_graph_has_the_names_and_types_of_the_bundle(
    exported: tuple[Path, TextEncoderReport],
) -> None:
    session = onnxruntime.InferenceSession(str(exported[0] / "text_encoder.onnx"))
    inputs = {i.name: (i.type, len(i.shape)) for i in session.get_inputs()}
    assert inputs == {"input_ids": ("tensor(int64)", 2), "attention_mask": ("tensor(int64)", 2)}
    (output,) = session.get_outputs()
    assert (output.name, output.type, output.shape[1]) == ("vector", "tensor(float)", DIMENSIONS)


@pytest.mark.parametrize("size", [1, 2, 3, 25])
def test_the_files_give_torchs_vectors(
    exported: tuple[Path, TextEncoderReport], tiny_encoder: SentenceEncoder, size: int
) -> None:
    texts = TEXTS[:size]
    vectors = OnnxTextEncoder.open(exported[0]).encode(texts)
    assert vectors.dtype == np.float32
    assert np.abs(vectors - tiny_encoder.encode(texts)).max() < 5e-4


def test_the_graph_takes_any_batch_and_any_length(exported: tuple[Path, TextEncoderReport]) -> None:
    session = onnxruntime.InferenceSession(str(exported[0] / "text_encoder.onnx"))
    for n_texts in (1, 2, 7):
        for n_tokens in (1, 2, 5, POSITIONS):
            ids = np.full((n_texts, n_tokens), 5, dtype=np.int64)
            feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            assert session.run(["vector"], feeds)[0].shape == (n_texts, DIMENSIONS)


def test_the_report_names_the_comparison(exported: tuple[Path, TextEncoderReport]) -> None:
    report = exported[1].to_json()
    assert report["graph_difference"] <= 1e-4
    assert 0 < report["largest_difference"] <= 5e-4
    assert (report["parity_texts"], report["max_tokens"]) == (len(TEXTS), POSITIONS)
    assert report["query_ms"] > 0


def test_a_graph_that_differs_is_rejected(
    exported: tuple[Path, TextEncoderReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SentenceEncoder(str(make_tiny_bert(tmp_path / "other", seed=4)), tmp_path, "cpu")
    graph = (exported[0] / "text_encoder.onnx").read_bytes()
    monkeypatch.setattr(onnx_export, "_to_onnx", lambda _encoder: graph)
    with pytest.raises(ParityError, match="differ"):
        export_text_encoder(other, tmp_path / "exported", TEXTS)
    assert not (tmp_path / "exported").exists()
