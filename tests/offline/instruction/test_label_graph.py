"""The exported language model scores as the whole model does, prompt by prompt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from model_store.errors import ConfigError
from model_store.rerank_prompt import LABELS, RATINGS
from model_store.reranker import LabelGraph
from offline.instruction import label_graph
from offline.instruction.label_graph import ParityError, export_label_graph
from offline.instruction.label_model import LabelModel
from offline.instruction.label_network import LabelNetwork
from offline.instruction.onnx_scorer import OnnxLabelScorer
from tests.offline.instruction.tiny_models import FAMILIES, LAYOUT, make_llama

pytestmark = pytest.mark.slow

TITLES = ["toy story", "alien", "heat", "a much longer title", "war", "romance"]
PROMPTS = [
    LAYOUT.listwise(TITLES[:2], TITLES[2:6], [2, 0, 3, 1], TITLES[3:4]),
    LAYOUT.listwise(TITLES[:1], TITLES[1:3], [1, 0]),
    LAYOUT.listwise(TITLES[1:4], TITLES[4:6] + TITLES[:1], [0, 1, 2]),
]
N_LABELS = [4, 2, 3]
# Gemma's layers are of two kinds; each layer is a second of every export.
MODELS = FAMILIES | {"llama": (partial(make_llama, num_hidden_layers=1), FAMILIES["llama"][1])}
BEGINNING, ENDS = LAYOUT.pointwise(TITLES[:3], TITLES[2:6], TITLES[3:5])


@dataclass
class Exported:
    model: LabelModel
    folder: Path
    graph: LabelGraph

    def scorer(self, prompts_at_a_time: int = 1) -> OnnxLabelScorer:
        content = (self.folder / "reranker.onnx").read_bytes()
        tokenizer = (self.folder / "reranker_tokenizer.json").read_text()
        return OnnxLabelScorer(content, tokenizer, self.graph, prompts_at_a_time=prompts_at_a_time)


@pytest.fixture(scope="module", params=sorted(MODELS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    make_model, make_tokenizer = MODELS[request.param]
    model = LabelModel(request.param, make_model(), make_tokenizer())
    folder = tmp_path_factory.mktemp(request.param)
    return Exported(model, folder, export_label_graph(model, folder, "float32", PROMPTS, N_LABELS))


def test_the_graph_has_the_inputs_and_the_output_of_the_manifest(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(str(exported.folder / "reranker.onnx"))
    assert {node.name: (node.type, len(node.shape)) for node in session.get_inputs()} == {
        "tokens": ("tensor(int64)", 2),
        "positions": ("tensor(int64)", 2),
        "mask": ("tensor(bool)", 3),
        "read_at": ("tensor(int64)", 2),
    }
    [output] = session.get_outputs()
    assert (output.name, output.type) == ("logits", "tensor(float)")
    assert output.shape[2] == exported.graph.n_rows == len(LABELS) + len(RATINGS)


def test_the_description_is_of_this_model(exported: Exported) -> None:
    assert exported.graph == LabelGraph(
        precision="float32",
        label_tokens=exported.model.encoder.label_tokens,
        rating_tokens=exported.model.encoder.rating_tokens,
        max_tokens=512,
        begins_with=exported.model.encoder.begins_with,
        rank_agreement=exported.graph.rank_agreement,
    )
    assert exported.graph.rank_agreement == pytest.approx(1)


@pytest.mark.parametrize("prompts_at_a_time", [1, 3])
def test_labels_score_as_in_the_whole_model(exported: Exported, prompts_at_a_time: int) -> None:
    found = exported.scorer(prompts_at_a_time).scores(PROMPTS, N_LABELS)
    expected = exported.model.scores(PROMPTS, N_LABELS)
    for some, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(some, other, atol=1e-4)
        assert some.dtype == np.float32


def test_candidates_that_share_a_beginning_are_rated_as_if_each_were_alone(
    exported: Exported,
) -> None:
    alone = [exported.model.ratings([BEGINNING], [[end]])[0][0] for end in ENDS]
    [four, one] = exported.scorer(2).ratings([BEGINNING, BEGINNING], [ENDS, ENDS[:1]])
    np.testing.assert_allclose(four, alone, atol=1e-4)
    np.testing.assert_allclose(one, alone[:1], atol=1e-4)
    assert four.dtype == np.float32


def test_no_prompts_have_no_scores(exported: Exported) -> None:
    assert exported.scorer().scores([], []) == []
    assert exported.scorer().ratings([], []) == []


def test_an_export_leaves_the_model_as_it_was(exported: Exported) -> None:
    fresh = MODELS[exported.model.name][0]()
    assert [type(module) for module in exported.model.model.modules()] == [
        type(module) for module in fresh.modules()
    ]


def test_other_scores_than_torchs_are_an_error_and_leave_no_file(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (exported.folder / "reranker.onnx").read_bytes()
    monkeypatch.setattr(label_graph, "_to_onnx", lambda *_: content)
    other = LabelModel("other", MODELS[exported.model.name][0](), exported.model.encoder.tokenizer)
    with torch.no_grad():
        other.model.get_decoder().layers[0].mlp.up_proj.weight[:, 0] += 1
    with pytest.raises(ParityError, match=r"'other': scores of ONNX and torch differ by .*e"):
        export_label_graph(other, tmp_path, "float32", PROMPTS, N_LABELS)
    assert not list(tmp_path.iterdir())


def test_a_model_without_decoder_layers_is_one_clear_line() -> None:
    class Other(torch.nn.Module):
        def get_decoder(self) -> torch.nn.Module:
            return torch.nn.Identity()

    with pytest.raises(ConfigError, match="Other has no list of decoder layers"):
        LabelNetwork(Other(), [1])
