"""A bundle as a policy: which items it would have ranked in the place of those that were shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from model_store.bundle import Bundle
from offline.evaluate.bundle_scores import BundleScores
from offline.logged.explored import Explored
from offline.logged.histories import KnownHistories

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
_AT_ONCE_BYTES = 64 * 2**20
_AT_ONCE_ROWS = 256


@dataclass(frozen=True)
class Behaviour:
    """What a policy does where others' answers were shown.

    Attributes:
        log_probabilities: of the shown item at each rank, given those above it, [E, R]; -inf where
            the policy never shows it there.
        expected: of the multipliers of the item that the policy draws at each rank, given the
            shown items above it, [E, R].
    """

    log_probabilities: Float64
    expected: Float64


class Target:
    """A bundle's ranking of all items that a user has not had, or a random one by its scores.

    Args:
        bundle: of a model that recommends.
        events: of `read_events`.
        temperature: 0: the ranking by score. Above 0: Plackett-Luce of the scores divided by it,
            drawn from as many of the bundle's best items as the shown answer was drawn from.
    """

    def __init__(self, bundle: Bundle, events: pl.DataFrame, temperature: float) -> None:
        self._bundle, self._events, self._temperature = bundle, events, temperature
        self._scores = BundleScores(bundle, bundle.item_ids)

    def behave(
        self,
        explored: Explored,
        multipliers: Float64,
        on_progress: Callable[[int], object] = lambda _: None,
    ) -> Behaviour:
        """See `Behaviour`.

        Args:
            explored: the answers; its items are the bundle's item_indices, 0 where it has none.
            multipliers: of each fold and item, [F, N+1].
            on_progress: called with a number of further answers.
        """
        known = KnownHistories(self._bundle, self._events, explored.user_ids)
        n, n_ranks = explored.items.shape
        found = Behaviour(np.empty((n, n_ranks)), np.empty((n, n_ranks)))
        n_scores = len(self._bundle.item_table)
        size = max(1, min(_AT_ONCE_ROWS, _AT_ONCE_BYTES // (8 * n_scores)))
        for start in range(0, n, size):
            rows = slice(start, min(n, start + size))
            logits = self._logits(explored, known, range(rows.start, rows.stop))
            of_rows = multipliers[explored.folds[rows]]
            part = follow(logits, explored.items[rows], of_rows, greedy=not self._temperature)
            found.log_probabilities[rows], found.expected[rows] = (
                part.log_probabilities,
                part.expected,
            )
            on_progress(rows.stop - rows.start)
        return found

    def _logits(self, explored: Explored, known: KnownHistories, rows: range) -> Float64:
        """Of each answer's items, [B, N+1]; -inf of those that its user is not recommended."""
        pairs = [(explored.user_ids[row], float(explored.at_s[row])) for row in rows]
        histories = [known.before(user_id, at_s) for user_id, at_s in pairs]
        scores = self._scores.score([one.items for one in histories]).astype(np.float64)
        scores[:, 0] = -np.inf
        for row, history in enumerate(histories):
            if not len(history.items):  # popularity: counts are weights, and no logits
                with np.errstate(divide="ignore"):
                    scores[row] = np.log(scores[row])
            scores[row, history.items] = -np.inf
            scores[row, history.disliked] = -np.inf
        if not self._temperature:
            return scores
        for row, n_candidates in enumerate(explored.n_candidates[rows.start : rows.stop].tolist()):
            if n_candidates < scores.shape[1]:
                # As the service does: of items that tie, the lower item_index is among the best.
                scores[row, np.argsort(-scores[row], kind="stable")[n_candidates:]] = -np.inf
        return scores / self._temperature


def follow(logits: Float64, items: Int64, multipliers: Float64, *, greedy: bool) -> Behaviour:
    """Go down the ranks of some answers.

    Args:
        logits: of each answer's items, [B, N+1]; -inf of those that may not be drawn, of padding
            among them. What is shown is taken out.
        items: that were shown, [B, R]; 0 for none, or one that the policy doesn't know.
        multipliers: of each answer's items, [B, N+1].
        greedy: the best item is next, and not one drawn by the softmax of the logits.
    """
    found = Behaviour(np.empty(items.shape), np.empty(items.shape))
    rows = np.arange(len(items))
    for rank in range(items.shape[1]):
        probabilities = _probabilities(logits, greedy=greedy)
        with np.errstate(divide="ignore"):
            found.log_probabilities[:, rank] = np.log(probabilities[rows, items[:, rank]])
        found.expected[:, rank] = (probabilities * multipliers).sum(axis=1)
        logits[rows, items[:, rank]] = -np.inf
    return found


def _probabilities(logits: Float64, *, greedy: bool) -> Float64:
    """Of the next item, [B, N+1]; zeros where none is left."""
    best = logits.max(axis=1, keepdims=True)
    is_left = np.isfinite(best)
    if greedy:
        weights = np.zeros_like(logits)
        weights[np.arange(len(logits)), logits.argmax(axis=1)] = 1.0
    else:
        weights = np.exp(logits - np.where(is_left, best, 0.0))
    weights *= is_left
    total = weights.sum(axis=1, keepdims=True)
    probabilities: Float64 = weights / np.where(is_left, total, 1.0)
    return probabilities
