"""The reranker's language model as an ONNX file and a tokenizer file, for a service without torch.

reranker.onnx             inputs and output as of `model_store.reranker.LabelGraph`
reranker_tokenizer.json   of the library tokenizers; puts nothing in front of a text, cuts nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import spearmanr
from tokenizers import Tokenizer

from model_store.errors import LongtailError
from model_store.files import write_atomically
from model_store.reranker import MAX_TOKENS, LabelGraph
from offline.instruction.calibration import observe_inputs
from offline.instruction.fused_operators import fused_operators
from offline.instruction.int8_layers import int8_layers
from offline.instruction.label_model import LabelModel
from offline.instruction.label_network import LabelNetwork
from offline.instruction.label_scorer import Float32
from offline.instruction.onnx_scorer import GRAPH_FILE, TOKENIZER_FILE, OnnxLabelScorer
from offline.quiet_exporter import quiet_exporter

Precision = Literal["float32", "int8"]
OPSET = 23
# Of any log-probability to torch's.
TOLERANCE = 5e-3
CALIBRATION_PROMPTS = 16


class ParityError(LongtailError):
    """The exported language model doesn't give torch's scores."""


def export_label_graph(
    model: LabelModel,
    folder: Path,
    precision: Precision,
    prompts: Sequence[str],
    n_labels: Sequence[int],
) -> LabelGraph:
    """Write reranker.onnx and reranker_tokenizer.json into `folder`, checked against torch.

    Nothing is written if the check fails.

    Args:
        model: float32, on the CPU.
        folder: where the files go.
        precision: int8 holds weights and multiplies in 8 bits.
        prompts: listwise prompts that both are compared on: real ones, of different lengths.
        n_labels: the number of candidates of each prompt.

    Raises:
        ParityError: a score of the float32 graph differs from torch's by more than TOLERANCE.
        ConfigError: the model is not built of decoder layers.
    """
    encoder = model.encoder
    graph = LabelGraph(
        precision=precision,
        label_tokens=encoder.label_tokens,
        rating_tokens=encoder.rating_tokens,
        max_tokens=min(MAX_TOKENS, model.max_tokens),
        begins_with=encoder.begins_with,
        rank_agreement=1.0,
    )
    content = _to_onnx(model, precision, graph.max_tokens, prompts[:CALIBRATION_PROMPTS])
    tokenizer = _service_tokenizer(encoder.tokenizer)
    expected = model.scores(prompts, n_labels)
    found = OnnxLabelScorer(content, tokenizer, graph).scores(prompts, n_labels)
    if precision == "float32":
        _check_within_tolerance(model.name, found, expected)
    write_atomically(folder / GRAPH_FILE, content)
    write_atomically(folder / TOKENIZER_FILE, tokenizer.encode())
    return graph.model_copy(update={"rank_agreement": rank_agreement(found, expected)})


def rank_agreement(found: Sequence[Float32], expected: Sequence[Float32]) -> float:
    """Mean Spearman correlation of two models' scores; one array [n] a prompt, n of 2 or more."""
    correlations = [
        spearmanr(some, other).statistic for some, other in zip(found, expected, strict=True)
    ]
    return float(np.mean(correlations))


def _to_onnx(
    model: LabelModel, precision: Precision, max_tokens: int, prompts: Sequence[str]
) -> bytes:
    """The graph with its weights, as the bytes of a single file; `prompts` are typical ones."""
    network = LabelNetwork(model.model, model.encoder.answer_tokens)
    with observe_inputs(network.body) as observed:
        if precision == "int8":
            model.scores(prompts, [1] * len(prompts))
    with fused_operators(model.model), ExitStack() as stack:
        if precision == "int8":
            stack.enter_context(int8_layers(network.body, observed))
        stack.enter_context(network.reading())
        return _trace(network, max_tokens)


def _trace(network: LabelNetwork, max_tokens: int) -> bytes:
    # Sizes 0 and 1 would be taken for constants.
    n_prompts, n_tokens, n_read = 2, 7, 3
    example = torch.arange(n_prompts * n_tokens).reshape(n_prompts, n_tokens) % n_tokens
    mask = torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril().repeat(n_prompts, 1, 1)
    batch = torch.export.Dim("batch", min=1)
    tokens = torch.export.Dim("tokens", min=1, max=max_tokens)
    read = torch.export.Dim("read", min=1)
    with quiet_exporter(), torch.inference_mode():
        program = torch.onnx.export(
            network,
            (),
            kwargs={
                "tokens": torch.ones_like(example),
                "positions": example,
                "mask": mask,
                "read_at": example[:, :n_read].contiguous(),
            },
            input_names=["tokens", "positions", "mask", "read_at"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            dynamic_shapes={
                "tokens": {0: batch, 1: tokens},
                "positions": {0: batch, 1: tokens},
                "mask": {0: batch, 1: tokens, 2: tokens},
                "read_at": {0: batch, 1: read},
            },
            verbose=False,
        )
    if program is None:  # only without dynamo=True
        raise TypeError("torch.onnx.export returned no program")
    return bytes(program.model_proto.SerializeToString())


def _service_tokenizer(tokenizer: Any) -> str:
    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    text: str = plain.to_str()
    return text


def _check_within_tolerance(
    name: str, found: Sequence[Float32], expected: Sequence[Float32]
) -> None:
    # np.max keeps a NaN; max would lose it.
    largest = np.max([np.abs(a - b).max() for a, b in zip(found, expected, strict=True)])
    if not largest <= TOLERANCE:  # true of NaN, too
        raise ParityError(
            f"language model {name!r}: scores of ONNX and torch differ by {largest:.2e}, "
            f"more than {TOLERANCE:.0e}"
        )
