"""Layers in 8 bits: how near they are to float32, and what they share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from model_store.eight_bits import exact_in_8_bits
from offline.instruction.calibration import observe_inputs
from offline.instruction.int8_layers import Int8Linear, int8_layers
from offline.instruction.label_graph import export_label_graph
from offline.instruction.label_model import LabelModel
from offline.instruction.onnx_scorer import OnnxLabelScorer
from offline.quiet_exporter import quiet_exporter
from tests.offline.instruction.test_label_graph import BEGINNING, ENDS, N_LABELS, PROMPTS
from tests.offline.instruction.tiny_models import make_gemma, make_tokenizer


class TwoReaders(nn.Module):
    """Two layers that read one input."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Linear(32, 24), nn.Linear(32, 16, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        states = states * 1  # the layers read a tensor of the model's own
        return torch.cat([self.first(states), self.second(states)], dim=-1)


def run_in_8_bits(model: TwoReaders, states: Tensor) -> tuple[Tensor, list[str]]:
    """The output and the operators of the exported model."""
    with observe_inputs(model) as observed, torch.inference_mode():
        model(states)
    with int8_layers(model, observed), quiet_exporter(), torch.inference_mode():
        program = torch.onnx.export(model, (states,), dynamo=True, optimize=False, verbose=False)
    assert program is not None
    options = onnxruntime.SessionOptions()
    for name, value in exact_in_8_bits().items():
        options.add_session_config_entry(name, value)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options)
    [name] = [node.name for node in session.get_inputs()]
    [found] = session.run(None, {name: states.numpy()})
    return torch.tensor(found), [node.op_type for node in program.model_proto.graph.node]


@torch.no_grad()
@pytest.mark.slow
def test_large_channels_and_tokens_cost_the_others_nothing() -> None:
    model = TwoReaders()
    states = torch.randn(2, 7, 32)
    for layer in (model.first, model.second):
        layer.weight[:, 3] /= 300
    states[:, :, 3] *= 300
    states[0, 0] *= 1000
    found, _ = run_in_8_bits(model, states)
    errors = (found - model(states)).norm(dim=-1) / model(states).norm(dim=-1)
    assert errors.max() < 0.06


@torch.no_grad()
@pytest.mark.slow
def test_an_input_is_quantised_once_for_all_layers_that_read_it() -> None:
    model, states = TwoReaders(), torch.randn(2, 7, 32)
    found, operators = run_in_8_bits(model, states)
    assert operators.count("DynamicQuantizeLinear") == 1
    assert operators.count("MatMulIntegerToFloat") == 2
    assert "ReduceMax" not in operators  # tokens are alike
    assert (found - model(states)).norm() / model(states).norm() < 0.012


@torch.no_grad()
def test_a_context_leaves_the_layers_as_they_were() -> None:
    model, states = TwoReaders(), torch.randn(2, 7, 32)
    with observe_inputs(model) as observed:
        before = model(states)
    with int8_layers(model, observed):
        assert isinstance(model.first, Int8Linear)
    torch.testing.assert_close(model(states), before, rtol=0, atol=0)
    assert observed[model.first].readers == [model.first, model.second]
    assert len(observed[model.first].tokens) == 1


@pytest.mark.slow
def test_an_exported_model_ranks_in_8_bits(tmp_path: Path) -> None:
    # Both kinds of layers have the same linear ones; `test_label_graph` exports both.
    model = LabelModel("gemma", make_gemma(["sliding_attention"]), make_tokenizer(begins=True))
    graph = export_label_graph(model, tmp_path, "int8", PROMPTS, N_LABELS)
    assert graph.precision == "int8"
    assert graph.rank_agreement > 0.7  # two to four candidates each
    scorer = OnnxLabelScorer.open(tmp_path, graph)
    for found, expected in zip(
        scorer.scores(PROMPTS, N_LABELS), model.scores(PROMPTS, N_LABELS), strict=True
    ):
        np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=0.1)
    [found], [expected] = scorer.ratings([BEGINNING], [ENDS]), model.ratings([BEGINNING], [ENDS])
    np.testing.assert_allclose(found, expected, atol=0.3)
