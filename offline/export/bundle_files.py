"""The recommender's files of a bundle: graph, item table, golden requests, retriever."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_store.errors import InputError
from model_store.files import write_atomically
from model_store.id_map import IdMap
from model_store.manifest import ModelInfo, RetrieverInfo
from offline.data.histories import Histories, Items
from offline.export.config import RetrievalConfig
from offline.export.parity import Parity, check_parity, probe
from offline.export.retriever import build_retriever
from offline.progress import Progress
from offline.recommender.recommender import Exported, Recommender, rank_unseen

MODEL_INFO, GOLDEN, RETRIEVER = "model.json", "golden.json", "retriever.json"
_TIMED_LENGTH = 50
_TIMED_RUNS = 200
_MEASURED_USERS = 500


@dataclass(frozen=True)
class ExportReport:
    """The checks of an export, and its retriever.

    Attributes:
        parity: of the graph with the model.
        request_ms: median time of one request, one CPU thread.
        retriever: of a catalogue too large to score every item of, else None.
    """

    parity: Parity
    request_ms: float
    retriever: RetrieverInfo | None


def export_model(
    model: Recommender,
    item_ids: IdMap,
    histories: Histories,
    folder: Path,
    *,
    n_checked: int = 200,
    n_golden: int = 20,
    k: int = 10,
    retrieval: RetrievalConfig | None = None,
) -> ExportReport:
    """Write the files that serve a model, model.json, which describes it, and golden.json.

    A large catalogue gets a retriever too, described in retriever.json.

    Args:
        model: fitted; its table has the knowledge projection folded in and a row for every item.
        item_ids: of the N items.
        histories: real ones, oldest → newest; some of all lengths are checked.
        folder: output folder.
        n_checked: histories compared with torch, each alone and in a batch.
        n_golden: requests kept with their answers, to be replayed at load.
        k: items in an answer.
        retrieval: when and how to build a retriever; None for the defaults.

    Raises:
        InputError: there is no history to check with, or the table has rows for other items.
        ParityError: the graph doesn't answer as the model does; no golden requests are written.
    """
    usable = [history for history in histories if len(history)]
    if not usable:
        raise InputError("the export is checked on real histories, and there is none")
    if model.n_items != len(item_ids):
        raise InputError(f"the model has {model.n_items} items, the id map {len(item_ids)}")
    probes = probe(spread_by_length(usable, n_checked), model.max_length)
    with Progress("exporting", total=3, unit="step") as progress:
        exported = model.export(folder, probes)
        progress.advance(note="checking against torch")
        parity = check_parity(model, exported, probes, k)
        progress.advance(note="golden requests")
        golden = _golden_requests(exported, spread_by_length(usable, n_golden), item_ids, k)
        write_atomically(folder / GOLDEN, json.dumps(golden, indent=1).encode())
        progress.advance()
    retriever = None
    if len(item_ids) > (retrieval or RetrievalConfig()).exact_up_to:
        users = model.user_vectors(spread_by_length(usable, _MEASURED_USERS))
        retriever = build_retriever(exported.item_table, users, folder)
        write_atomically(folder / RETRIEVER, retriever.model_dump_json(indent=2).encode())
    info = ModelInfo.of_sequence_graph(model.name, exported.item_table.shape[1], model.max_length)
    write_atomically(folder / MODEL_INFO, info.model_dump_json(indent=2).encode())
    timed_length = min(_TIMED_LENGTH, model.max_length)
    return ExportReport(parity, _time_request_ms(exported, len(item_ids), timed_length), retriever)


def spread_by_length(histories: Histories, count: int) -> list[Items]:
    """At most `count` histories, evenly spread from the shortest to the longest."""
    order = np.argsort([len(history) for history in histories], kind="stable")
    positions = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [histories[order[position]] for position in positions]


def _golden_requests(
    exported: Exported, histories: Histories, item_ids: IdMap, k: int
) -> list[dict[str, Any]]:
    """Requests with the exported model's own answers, seen items left out."""
    golden = []
    for whole in histories:
        history = _leaving_an_item(whole, len(item_ids))
        best, scores = rank_unseen(exported.score, [history], k)
        real = best[0] > 0
        golden.append(
            {
                "history": [item_ids.id_of(int(item)) for item in history],
                "k": int(real.sum()),
                "item_ids": [item_ids.id_of(int(item)) for item in best[0][real]],
                "scores": [float(score) for score in scores[0][real]],
            }
        )
    return golden


def _leaving_an_item(history: Items, n_items: int) -> Items:
    """The history, or the newest part of one that holds the whole catalogue, of two items or more.

    Nothing could be recommended to a user who has seen every item.
    """
    different, newest = np.unique(history[::-1], return_index=True)
    if len(different) < n_items:
        return history
    # The item that was last seen longest ago, and all before it, are left out.
    return history[len(history) - newest.max() :]


def _time_request_ms(exported: Exported, n_items: int, length: int) -> float:
    history = np.random.default_rng(0).integers(1, n_items + 1, length).astype(np.int32)
    exported.score([history])
    taken = []
    for _ in range(_TIMED_RUNS):
        started = time.perf_counter()
        exported.score([history])
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1000
