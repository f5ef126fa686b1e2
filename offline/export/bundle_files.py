"""The recommender's files of a bundle: graph, item table, golden requests, retriever."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_store.errors import InputError
from model_store.files import save_array, write_atomically
from model_store.id_map import IdMap
from model_store.manifest import RetrieverInfo
from offline.data.histories import Histories, Items, pad_left
from offline.export.config import RetrievalConfig
from offline.export.graph import export_graph
from offline.export.parity import Graph, Parity, check_parity
from offline.export.retriever import build_retriever
from offline.progress import Progress
from offline.recommender.recommender import Vectors, rank_unseen
from offline.recommender.sequential import SequenceRecommender

MODEL, TABLE, PROJECTION, GOLDEN, RETRIEVER = (
    "model.onnx",
    "item_table.npy",
    "fresh_projection.npy",
    "golden.json",
    "retriever.json",
)
_TIMED_LENGTH = 50
_TIMED_RUNS = 200
_MEASURED_USERS = 500


@dataclass(frozen=True)
class ExportReport:
    """What was exported and how it was checked.

    Attributes:
        parity: of the graph with the model.
        n_golden: golden requests written.
        graph_bytes: size of model.onnx.
        item_table_shape: (N+1, D).
        request_ms: median time of one request of `request_length` items, one CPU thread.
        request_length: L of the timed request.
        retriever: what is built for a catalogue too large to score every item of, else None.
    """

    parity: Parity
    n_golden: int
    graph_bytes: int
    item_table_shape: tuple[int, int]
    request_ms: float
    request_length: int
    retriever: RetrieverInfo | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        described = asdict(self)
        described["retriever"] = self.retriever.model_dump(mode="json") if self.retriever else None
        return described


def export_model(
    model: SequenceRecommender,
    item_ids: IdMap,
    histories: Histories,
    folder: Path,
    *,
    n_checked: int = 200,
    n_golden: int = 20,
    k: int = 10,
    retrieval: RetrievalConfig | None = None,
) -> ExportReport:
    """Write model.onnx, item_table.npy, fresh_projection.npy and golden.json.

    A catalogue too large to score every item of gets a retriever too, described in retriever.json.

    Args:
        model: fitted; its table has the knowledge projection folded in and a row for every item.
        item_ids: of the N items.
        histories: real ones, oldest → newest; a spread of lengths of them is checked.
        folder: where the files go.
        n_checked: histories compared with torch, each alone and in a batch.
        n_golden: requests kept with their answers, to be replayed at load.
        k: items in an answer.
        retrieval: when and how to build a retriever; None for what is usual.

    Raises:
        InputError: there is no history to check with, or the table has rows for other items.
        ParityError: the graph doesn't answer as the model does; no golden requests are written.
    """
    usable = [history for history in histories if len(history)]
    if not usable:
        raise InputError("the export is checked on real histories, and there is none")
    if model.item_table.shape[0] != len(item_ids) + 1:
        raise InputError(
            f"the item table has {model.item_table.shape[0] - 1} items, the id map {len(item_ids)}"
        )
    timed_length = min(_TIMED_LENGTH, model.config.max_length)
    with Progress("exporting", total=3, unit="step") as progress:
        export_graph(model.backbone, model.config.embedding_size, folder / MODEL)
        save_array(folder / TABLE, model.item_table)
        save_array(folder / PROJECTION, model.fresh_projection)
        progress.advance(note="checking against torch")
        graph = Graph(folder / MODEL, model.item_table)
        parity = check_parity(model, graph, spread_by_length(usable, n_checked), k)
        progress.advance(note="golden requests")
        golden = _golden_requests(
            graph, spread_by_length(usable, n_golden), item_ids, model.config.max_length, k
        )
        write_atomically(folder / GOLDEN, json.dumps(golden, indent=1).encode())
        progress.advance()
    retriever = None
    if len(item_ids) > (retrieval or RetrievalConfig()).exact_up_to:
        users = user_vectors(model, spread_by_length(usable, _MEASURED_USERS))
        retriever = build_retriever(model.item_table, users, folder)
        write_atomically(folder / RETRIEVER, retriever.model_dump_json(indent=2).encode())
    return ExportReport(
        parity,
        len(golden),
        (folder / MODEL).stat().st_size,
        (model.item_table.shape[0], model.item_table.shape[1]),
        _time_request_ms(graph, len(item_ids), timed_length),
        timed_length,
        retriever,
    )


@torch.inference_mode()
def user_vectors(model: SequenceRecommender, histories: Histories) -> Vectors:
    """What the model makes of each history, float32 [B, D]."""
    table = torch.from_numpy(model.item_table)
    vectors = [
        model.backbone.last(table[torch.from_numpy(history)], torch.from_numpy(history) != 0)
        for history in (pad_left([history], model.config.max_length) for history in histories)
    ]
    found: Vectors = torch.cat(vectors).numpy()
    return found


def spread_by_length(histories: Histories, count: int) -> list[Items]:
    """At most `count` histories, evenly spread from the shortest to the longest."""
    order = np.argsort([len(history) for history in histories], kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [histories[order[place]] for place in places]


def _golden_requests(
    graph: Graph, histories: Histories, item_ids: IdMap, max_length: int, k: int
) -> list[dict[str, Any]]:
    """Requests with the graph's own answers, seen items left out."""
    golden = []
    for history in histories:
        best, scores = rank_unseen(lambda one: graph.score(pad_left(one, max_length)), [history], k)
        real = best[0] > 0
        if not real.any():  # somebody who has seen the whole catalogue
            continue
        golden.append(
            {
                "history": [item_ids.id_of(int(item)) for item in history],
                "k": int(real.sum()),
                "item_ids": [item_ids.id_of(int(item)) for item in best[0][real]],
                "scores": [float(score) for score in scores[0][real]],
            }
        )
    return golden


def _time_request_ms(graph: Graph, n_items: int, length: int) -> float:
    history = np.random.default_rng(0).integers(1, n_items + 1, (1, length))
    graph.score(history)
    taken = []
    for _ in range(_TIMED_RUNS):
        started = time.perf_counter()
        graph.score(history)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1000
