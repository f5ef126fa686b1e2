"""An exported network in onnxruntime, and the check of its serving path against the trained one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch.nn import functional as F

from offline.data.histories import Histories, pad_left, pad_right
from offline.metrics import Scores
from offline.recommender.backbone import Backbone
from offline.recommender.graph import HISTORY, ITEM_TABLE, SCORES
from offline.recommender.recommender import PARITY_TOLERANCE, ParityError, Vectors

_BATCH_ROWS = 32


class ExportedNetwork:
    """A graph in onnxruntime, on one CPU thread, with its item table.

    Attributes:
        item_table: float32 [N+1, D].
    """

    def __init__(self, graph: Path, item_table: Vectors, max_length: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        self.item_table = item_table
        self._max_length = max_length

    def score(self, histories: Histories) -> Scores:
        """Scores float32 [B, N+1], as one batch padded on the left."""
        history = pad_left(histories, self._max_length)
        feeds = {HISTORY: history, ITEM_TABLE: self.item_table}
        scores: Scores = self._session.run([SCORES], feeds)[0]
        return scores


def check_serving_path(backbone: Backbone, item_table: Vectors, histories: Histories) -> None:
    """Compare the serving path, `last`, with the trained one.

    Args:
        backbone: in evaluation mode, on the CPU.
        item_table: float32 [N+1, D].
        histories: one or more, none of them empty.

    Raises:
        ParityError: a score differs by more than the tolerance.
    """
    table = torch.from_numpy(item_table)
    right = torch.from_numpy(pad_right(histories))
    left = torch.from_numpy(pad_left(histories, right.shape[1]))
    with torch.inference_mode():
        trained = backbone.last_as_trained(F.embedding(right, table), right != 0)
        served = backbone.last(F.embedding(left, table), left != 0)
        # Some rows at a time: with a million items each has a million scores.
        apart = torch.split(trained - served, _BATCH_ROWS)
        difference = float(np.max([(rows @ table.T).abs().max() for rows in apart]))
    if not difference <= PARITY_TOLERANCE:  # true of NaN, too
        raise ParityError(
            f"the serving path of {type(backbone).__name__} differs from the trained one by "
            f"{difference:.2e} in a score (allowed: {PARITY_TOLERANCE:.0e})"
        )
