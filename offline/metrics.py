"""Full-ranking metrics: the whole catalogue but the history, ties against the model.

This is what a default request does: it leaves the history out (`exclude_seen`). A target that the
history holds can't be recommended then, and is a miss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.errors import InputError
from offline.data.histories import Histories
from offline.data.split import Cases

Scores = npt.NDArray[np.float32]
Score = Callable[[Histories], Scores]
Ranks = npt.NDArray[np.int64]

# Scores of one batch take at most this much, whatever the catalogue's size.
_BATCH_BYTES = 64 * 2**20
_BATCH_ROWS = 256

UNRANKED = int(np.iinfo(np.int64).max)
"""Rank of a target that isn't recommended at all: beyond every k, and a miss in every metric."""


@dataclass(frozen=True)
class Ranking:
    """A model's ranking of a set of cases.

    Attributes:
        ranks: of each target, int64 [C], 1 = best; UNRANKED where the history holds it.
        top: the best item_indices of each case, int32 [C, K]; 0 where fewer were left.
    """

    ranks: Ranks
    top: npt.NDArray[np.int32]


def rank_targets(scores: Scores, histories: Histories, targets: npt.NDArray[np.int32]) -> Ranks:
    """Rank of each target among the items not in its history, int64 [B].

    The rank is 1 + the number of other candidates that score at least as much, so ties count
    against the model. A target that its history holds is no candidate: UNRANKED.

    Args:
        scores: float32 [B, N+1]; column 0 is padding.
        histories: B arrays of item_indices.
        targets: int32 [B].

    Raises:
        InputError: a score is NaN.
    """
    rows = np.arange(len(targets))
    if np.isnan(scores[:, 1:]).any():
        raise InputError("the model scores items as NaN; its training must have gone wrong")
    ahead = scores >= scores[rows, targets][:, None]
    ahead[:, 0] = False
    for row, history in zip(ahead, histories, strict=True):
        row[history] = False
    # Row by row: numpy counts a row of booleans eight times as fast as it sums them along an axis.
    ranks = np.array([np.count_nonzero(row) for row in ahead], dtype=np.int64)
    # The target scores as much as itself, so it is among these unless it was left out as seen.
    return np.where(ahead[rows, targets], ranks, UNRANKED)


def rank_cases(
    score: Score, cases: Cases, k: int = 10, ranked: Callable[[int], None] = lambda _: None
) -> Ranking:
    """Rank every case, in batches of bounded memory.

    Args:
        score: a recommender's `score`.
        cases: histories and their targets.
        k: length of the lists kept for coverage; 0 to leave them out.
        ranked: called after each batch with its number of cases, to show progress.
    """
    ranks = np.zeros(len(cases), dtype=np.int64)
    top = np.zeros((len(cases), k), dtype=np.int32)
    by_length = np.argsort(np.diff(cases.history_offsets), kind="stable")
    start, size = 0, 1
    while start < len(by_length):
        batch = by_length[start : start + size]
        histories = [cases.history(case) for case in batch]
        scores = score(histories)
        ranks[batch] = rank_targets(scores, histories, cases.targets[batch])
        if k:
            best = _best_unseen(scores, histories, k)
            top[batch, : best.shape[1]] = best
        ranked(len(batch))
        start += size
        # The first batch, of one case, shows the catalogue's size.
        size = max(1, min(_BATCH_ROWS, _BATCH_BYTES // scores[0].nbytes))
    return Ranking(ranks, top)


def hit_rate_at_k(ranks: Ranks, k: int = 10) -> float:
    """Share of cases whose target is among the first k."""
    return float(hits(ranks, k).mean()) if len(ranks) else float("nan")


def ndcg_at_k(ranks: Ranks, k: int = 10) -> float:
    """Mean of 1 / log2(1 + rank) where rank ≤ k, else 0 (one relevant item: ideal DCG is 1)."""
    return float(gains(ranks, k).mean()) if len(ranks) else float("nan")


def mrr_at_k(ranks: Ranks, k: int = 10) -> float:
    """Mean of 1 / rank where rank ≤ k, else 0."""
    return float((hits(ranks, k) / ranks).mean()) if len(ranks) else float("nan")


def coverage_at_k(top: npt.NDArray[np.int32], n_items: int, k: int = 10) -> float:
    """Share of the catalogue that is in any user's first k."""
    shown = np.unique(top[:, :k])
    return float((shown > 0).sum() / n_items) if n_items else float("nan")


def hits(ranks: Ranks, k: int) -> npt.NDArray[np.float64]:
    """1 for each case within the first k, else 0."""
    return (ranks <= k).astype(np.float64)


def gains(ranks: Ranks, k: int) -> npt.NDArray[np.float64]:
    """Each case's share in NDCG@k."""
    return np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)


def _best_unseen(scores: Scores, histories: Histories, k: int) -> npt.NDArray[np.int32]:
    masked = np.array(scores)
    masked[:, 0] = -np.inf
    for row, history in zip(masked, histories, strict=True):
        row[history] = -np.inf
    k = min(k, masked.shape[1] - 1)
    best = np.argpartition(-masked, k - 1, axis=1)[:, :k] if k else masked[:, :0].astype(np.int64)
    seen = np.isneginf(np.take_along_axis(masked, best, axis=1))
    return np.where(seen, 0, best).astype(np.int32)
