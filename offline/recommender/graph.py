"""The ONNX graph: histories and an item table in, scores and user vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch

from model_store.files import write_atomically
from offline.quiet_exporter import quiet_exporter
from offline.recommender.backbone import Backbone
from offline.recommender.network import ServingNetwork

HISTORY, ITEM_TABLE, SCORES, USER = "history", "item_table", "scores", "user"
OPSET = 23  # the first with attention and rotary embedding as operators


def export_graph(backbone: Backbone, embedding_size: int, path: Path) -> None:
    """Write the serving graph of a backbone, whole or not at all.

    Inputs: `history` int64 [B, L], 0 = padding on the left; `item_table` float32 [N+1, D].
    Outputs: `scores` float32 [B, N+1]; `user` float32 [B, D]. B, N and L are free, L up to the
    backbone's max_length.
    """
    serving = ServingNetwork(backbone).eval()
    # Sizes that differ from each other and from 1, so that none is taken for a constant.
    example = (torch.ones(3, 7, dtype=torch.int64), torch.zeros(11, embedding_size))
    batch, length, rows = (torch.export.Dim(name) for name in ("B", "L", "N_plus_1"))
    shapes = ({0: batch, 1: length}, {0: rows})
    export_module(serving, example, [HISTORY, ITEM_TABLE], [SCORES, USER], shapes, path)


def export_module(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_shapes: tuple[dict[int, Any], ...],
    path: Path,
) -> None:
    """Write the graph of a module in evaluation mode, whole or not at all.

    Args:
        module: to be exported.
        example: inputs for it.
        inputs: their names.
        outputs: names of what it answers.
        dynamic_shapes: the free dimensions of each input, by position.
        path: of the graph.
    """
    with quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic_shapes,
            opset_version=OPSET,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    graph = program.model_proto
    _strip_notes(graph)
    onnx.checker.check_model(graph)
    write_atomically(path, graph.SerializeToString(deterministic=True))


def _strip_notes(graph: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold paths and stack traces of this machine."""
    body = graph.graph
    parts = (body.node, body.input, body.output, body.initializer, body.value_info)
    for part in (graph, body, *(entry for entries in parts for entry in entries)):
        del part.metadata_props[:]
        part.doc_string = ""
