"""The ONNX graph of a rating network: rows of a user and of items in, ratings out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from offline.rating.ratings import Ratings
from offline.rating.recommender import RatingRecommender
from offline.recommender.graph import export_module
from offline.recommender.recommender import PARITY_TOLERANCE, ParityError

USER, ITEMS, RATINGS = "user", "items", "ratings"
Float32 = npt.NDArray[np.float32]


class ExportedRatings:
    """A rating graph in onnxruntime, on one CPU thread, with the rows of users and items."""

    def __init__(self, graph: Path, user_rows: Float32, item_rows: Float32) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        self._user_rows, self._item_rows = user_rows, item_rows

    def rate(self, user: int, items: npt.NDArray[np.integer]) -> Float32:
        """Ratings float32 [M] of item_indices [M] by a user_index, not clipped."""
        return self.rate_by_row(self._user_rows[user], items)

    def rate_by_row(self, user_row: Float32, items: npt.NDArray[np.integer]) -> Float32:
        """The same by what the graph reads of a user, float32 [user row]."""
        feeds = {USER: user_row[None, :], ITEMS: self._item_rows[items]}
        ratings: Float32 = self._session.run([RATINGS], feeds)[0]
        return ratings


def export_ratings(model: RatingRecommender, path: Path) -> ExportedRatings:
    """Write the graph of a fitted model, whole or not at all.

    Inputs: `user` float32 [1, user row]; `items` float32 [M, item row]. Output: `ratings` float32
    [M]. M is free.
    """
    network = model.served_network().eval()
    # A number of items that is no other size, so that it isn't taken for a constant.
    n_items = model.item_rows.shape[1] + model.user_rows.shape[1] + 7
    example = (
        torch.zeros(1, model.user_rows.shape[1]),
        torch.zeros(n_items, model.item_rows.shape[1]),
    )
    export_module(
        network, example, [USER, ITEMS], [RATINGS], ({}, {0: torch.export.Dim("M")}), path
    )
    return ExportedRatings(path, model.user_rows, model.item_rows)


def check_ratings(
    model: RatingRecommender, exported: ExportedRatings, users: npt.NDArray[np.int32]
) -> float:
    """The largest difference of a rating between graph and model, for all items and for one alone.

    Args:
        model: fitted.
        exported: its graph.
        users: user_indices to compare for.

    Raises:
        ParityError: a rating differs by more than the tolerance.
    """
    items = np.arange(1, len(model.item_rows), dtype=np.int32)
    largest = 0.0
    for user in users.tolist():
        pairs = Ratings(np.full_like(items, user), items, np.zeros(len(items), np.float32))
        wanted = model.predict(pairs)
        answered = exported.rate(user, items)
        alone = exported.rate(user, items[:1])
        for found, expected in ((answered, wanted), (alone, wanted[:1])):
            difference = float(np.abs(np.clip(found, *model.scale) - expected).max())
            if not difference <= PARITY_TOLERANCE:
                raise ParityError(
                    f"the exported graph's ratings differ from torch's by {difference:.2e} for "
                    f"user_index {user} and {len(expected)} items "
                    f"(allowed: {PARITY_TOLERANCE:.0e})"
                )
            largest = max(largest, difference)
    return largest
