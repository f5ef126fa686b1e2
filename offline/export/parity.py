"""Checks on real histories that the exported graph answers as torch does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.data.histories import Histories, Items
from offline.metrics import Scores
from offline.recommender.recommender import PARITY_TOLERANCE, Exported, ParityError, Recommender

_PROBED_LENGTHS = (1, 2, 5)
_BATCH_ROWS = 32


@dataclass(frozen=True)
class Parity:
    """How closely the exported model follows the trained one.

    Attributes:
        n_histories: histories compared, each alone and in a batch.
        shortest, longest: of them, in items.
        max_difference: largest absolute difference of a score.
    """

    n_histories: int
    shortest: int
    longest: int
    max_difference: float


def check_parity(model: Recommender, exported: Exported, probes: Histories, k: int = 10) -> Parity:
    """Compare the exported model with the trained one, on each probe alone and in a batch.

    Raises:
        ParityError: a score differs by more than 1e-4, or the top k are others.
    """
    max_difference = 0.0
    for start in range(0, len(probes), _BATCH_ROWS):
        batch = probes[start : start + _BATCH_ROWS]
        wanted = model.score(batch)
        together = exported.score(batch)
        alone = np.concatenate([exported.score([history]) for history in batch])
        for answered, how in ((together, "in a batch"), (alone, "alone")):
            differences = np.abs(answered - wanted).max(axis=1)
            max_difference = max(max_difference, float(differences.max()))
            for row, history in enumerate(batch):
                _check_row(wanted[row], answered[row], history, k, how)
    lengths = [len(probe) for probe in probes]
    return Parity(len(probes), min(lengths), max(lengths), max_difference)


def probe(histories: Histories, max_length: int) -> list[Items]:
    """Histories to check on: real ones, cut to the maximum, and the first of them at set lengths.

    Args:
        histories: one or more; empty ones are left out.
        max_length: last history items that are read.
    """
    cut = [history[-max_length:] for history in histories if len(history)]
    longest = max(cut, key=len)
    probed = [history[-length:] for history in cut[:8] for length in _PROBED_LENGTHS]
    full = np.resize(longest, max_length)
    return [*cut, *probed, full]


def _check_row(wanted: Scores, answered: Scores, history: Items, k: int, how: str) -> None:
    difference = float(np.abs(wanted - answered).max())
    case = f"a history of {len(history)} items, {how}"
    if not difference <= PARITY_TOLERANCE:
        raise ParityError(
            f"the exported graph's scores differ from torch's by {difference:.2e} for {case} "
            f"(allowed: {PARITY_TOLERANCE:.0e})"
        )
    first, second = _top_unseen(wanted, history, k), _top_unseen(answered, history, k)
    # Two items may only swap ranks where their scores are equal up to rounding.
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
