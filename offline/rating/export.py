"""The files of a rating bundle that the network makes: graph, rows, means, golden requests."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_store import bundle as files
from model_store.files import save_array, write_atomically
from model_store.id_map import IdMap
from model_store.manifest import RatingModelInfo
from model_store.rating_arrays import ITEM_MEANS, RATED_TABLE, USER_MEANS, USER_TABLE
from offline.rating.graph import ExportedRatings, check_ratings, export_ratings
from offline.rating.network import MAX_RATED
from offline.rating.recommender import RatingRecommender

_N_CHECKED, _N_GOLDEN, _GOLDEN_ITEMS = 50, 10, 20
_TIMED_ITEMS, _TIMED_RUNS = 100, 100
MODEL_INFO = "model.json"


@dataclass(frozen=True)
class RatingExportReport:
    """The checks of an export.

    Attributes:
        n_checked: users whose ratings of all items were compared with torch's.
        max_difference: the largest of a rating.
        request_ms: median time of 100 items, one CPU thread.
    """

    n_checked: int
    max_difference: float
    request_ms: float


def export_model(
    model: RatingRecommender,
    user_ids: Sequence[str],
    item_ids: IdMap,
    folder: Path,
    *,
    max_ranked: int,
) -> RatingExportReport:
    """Write the files that serve a model, model.json, which describes it, and golden.json.

    Args:
        model: fitted.
        user_ids: of rows 1..U of its users.
        item_ids: of rows 1..N of its items.
        folder: output folder.
        max_ranked: items that a request for recommendations ranks.

    Raises:
        ParityError: the graph doesn't answer as the model does; no golden requests are written.
    """
    exported = export_ratings(model, folder / files.MODEL)
    n_users = len(user_ids)
    checked = np.unique(np.linspace(1, n_users, min(_N_CHECKED, n_users)).astype(np.int32))
    difference = check_ratings(model, exported, checked)
    save_array(folder / files.ITEM_TABLE, model.item_rows)
    save_array(folder / USER_TABLE, model.user_rows)
    save_array(folder / RATED_TABLE, model.rated_rows)
    save_array(folder / USER_MEANS, model.means.users)
    save_array(folder / ITEM_MEANS, model.means.items)
    info = RatingModelInfo.of_rating_graph(
        model.name,
        model.user_rows.shape[1],
        model.item_rows.shape[1],
        model.scale,
        max_length=MAX_RATED,
        max_ranked=max_ranked,
    )
    write_atomically(folder / MODEL_INFO, info.model_dump_json(indent=2).encode())
    golden = [
        _golden_request(model, exported, user_ids, item_ids, int(user))
        for user in checked[:: max(1, len(checked) // _N_GOLDEN)]
    ]
    write_atomically(folder / files.GOLDEN, json.dumps(golden, indent=1).encode())
    return RatingExportReport(len(checked), difference, _time_request_ms(exported, len(item_ids)))


def _golden_request(
    model: RatingRecommender,
    exported: ExportedRatings,
    user_ids: Sequence[str],
    item_ids: IdMap,
    user: int,
) -> dict[str, Any]:
    """A user and items with the exported model's own ratings of them."""
    items = np.random.default_rng(user).permutation(len(item_ids))[:_GOLDEN_ITEMS] + 1
    ratings = np.clip(exported.rate(user, items), *model.scale)
    return {
        "user_id": user_ids[user - 1],
        "item_ids": [item_ids.id_of(int(item)) for item in items],
        "ratings": [float(rating) for rating in ratings],
    }


def _time_request_ms(exported: ExportedRatings, n_items: int) -> float:
    items = np.random.default_rng(0).integers(1, n_items + 1, _TIMED_ITEMS)
    taken = []
    for _ in range(_TIMED_RUNS):
        started = time.perf_counter()
        exported.rate(1, items)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1000
