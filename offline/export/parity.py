"""Does the exported graph answer as torch does? Asserted on real histories, or no export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch.nn import functional as F

from model_store.errors import LongtailError
from offline.data.histories import Histories, Items, pad_left, pad_right
from offline.export.graph import HISTORY, ITEM_TABLE, SCORES
from offline.metrics import Scores
from offline.recommender.backbone import Backbone
from offline.recommender.recommender import Vectors
from offline.recommender.sequential import SequenceRecommender

TOLERANCE = 1e-4
_PROBED_LENGTHS = (1, 2, 5)
_BATCH_ROWS = 32


class ParityError(LongtailError):
    """The exported graph and the trained model disagree."""


@dataclass(frozen=True)
class Parity:
    """How closely the graph follows the model.

    Attributes:
        n_histories: histories compared, each alone and in a batch.
        shortest, longest: of them, in items.
        max_difference: largest absolute difference of a score.
    """

    n_histories: int
    shortest: int
    longest: int
    max_difference: float


class Graph:
    """An exported graph in onnxruntime, on one CPU thread, with its item table."""

    def __init__(self, path: Path, item_table: Vectors) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._item_table = item_table

    def score(self, history: npt.NDArray[np.int64]) -> Scores:
        """Scores float32 [B, N+1] of left-padded histories int64 [B, L]."""
        feeds = {HISTORY: history, ITEM_TABLE: self._item_table}
        scores: Scores = self._session.run([SCORES], feeds)[0]
        return scores


def check_parity(
    model: SequenceRecommender, graph: Graph, histories: Histories, k: int = 10
) -> Parity:
    """Compare graph and model on histories at their own and at probed lengths.

    Raises:
        ParityError: a score differs by more than 1e-4, the top k are others, or the model's own
            single-position path differs from the one that was trained.
    """
    probes = _probe(histories, model.config.max_length)
    _check_last_position(model.backbone, model.item_table, probes)
    max_difference = 0.0
    for start in range(0, len(probes), _BATCH_ROWS):
        batch = probes[start : start + _BATCH_ROWS]
        wanted = model.score(batch)
        together = graph.score(pad_left(batch, model.config.max_length))
        alone = np.concatenate([graph.score(history[None].astype(np.int64)) for history in batch])
        for answered, how in ((together, "in a batch"), (alone, "alone")):
            differences = np.abs(answered - wanted).max(axis=1)
            max_difference = max(max_difference, float(differences.max()))
            for row, history in enumerate(batch):
                _check_row(wanted[row], answered[row], history, k, how)
    lengths = [len(probe) for probe in probes]
    return Parity(len(probes), min(lengths), max(lengths), max_difference)


def _probe(histories: Histories, max_length: int) -> list[Items]:
    """Real histories as they are (cut to the maximum), and the first of them at set lengths."""
    cut = [history[-max_length:] for history in histories if len(history)]
    longest = max(cut, key=len)
    probed = [history[-length:] for history in cut[:8] for length in _PROBED_LENGTHS]
    full = np.resize(longest, max_length)
    return [*cut, *probed, full]


def _check_last_position(backbone: Backbone, item_table: Vectors, probes: list[Items]) -> None:
    table = torch.from_numpy(item_table)
    right = torch.from_numpy(pad_right(probes))
    left = torch.from_numpy(pad_left(probes, right.shape[1]))
    with torch.inference_mode():
        trained = backbone.last_as_trained(F.embedding(right, table), right != 0)
        served = backbone.last(F.embedding(left, table), left != 0)
        # Some rows at a time: of a million items each has a million scores.
        apart = torch.split(trained - served, _BATCH_ROWS)
        difference = max(float((rows @ table.T).abs().max()) for rows in apart)
    if not difference <= TOLERANCE:
        raise ParityError(
            f"the serving path of {type(backbone).__name__} differs from the trained one by "
            f"{difference:.2e} in a score (allowed: {TOLERANCE:.0e})"
        )


def _check_row(wanted: Scores, answered: Scores, history: Items, k: int, how: str) -> None:
    difference = float(np.abs(wanted - answered).max())
    case = f"a history of {len(history)} items, {how}"
    if not difference <= TOLERANCE:
        raise ParityError(
            f"the exported graph's scores differ from torch's by {difference:.2e} for {case} "
            f"(allowed: {TOLERANCE:.0e})"
        )
    first, second = _top_unseen(wanted, history, k), _top_unseen(answered, history, k)
    # Two items may only change places where their scores are equal to within the arithmetic.
    apart = np.abs(wanted[first] - wanted[second]) > 2 * difference
    if apart.any():
        place = int(apart.argmax())
        raise ParityError(
            f"the exported graph ranks item {second[place]} at place {place + 1} where torch ranks "
            f"item {first[place]}, for {case}"
        )


def _top_unseen(scores: Scores, history: Items, k: int) -> npt.NDArray[np.int64]:
    allowed = np.array(scores)
    allowed[0] = allowed[history] = -np.inf
    return np.argsort(-allowed, kind="stable")[:k].astype(np.int64)
