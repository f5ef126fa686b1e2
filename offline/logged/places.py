"""Where two models would have put what was drawn at random for people.

An answer whose first ranks were drawn is a sequence of places. At each, the items above it had been
shown, and one of the others was drawn with a logged probability. A model ranks all items that the
user had not had and that do not stand above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model_store.errors import InputError

if TYPE_CHECKING:
    from offline.data.histories import Histories, Items
    from offline.data.interactions import Interactions
    from offline.logged.explored import Explored

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Score = Callable[["Histories"], Float32]
K = 10
"""As deep as a model's ranking counts, with the gains of NDCG@10."""
_AT_ONCE_BYTES = 64 * 2**20
_AT_ONCE_ROWS = 256


@dataclass(frozen=True)
class Ranked:
    """What one model does at places, [E, R]: R of each of E answers.

    Attributes:
        shares: of the shown item in the gains of the model's K best ones: 0 below rank K, int64.
        support: sum of those shares over the items that could have been drawn.
    """

    shares: Float64
    support: Float64


@dataclass(frozen=True)
class Places:
    """R places of each of E answers: as many as were drawn in any of them.

    Attributes:
        users: of each answer, int64 [E].
        is_drawn: whether the place was, bool [E, R].
        clicks: 1 where it was clicked, [E, R].
        propensities: of the shown items, given those above, [E, R]; 1 where nothing was drawn.
        candidate, running: what the new model and the running one do there.
    """

    users: Int64
    is_drawn: npt.NDArray[np.bool_]
    clicks: Float64
    propensities: Float64
    candidate: Ranked
    running: Ranked


def histories_at(interactions: Interactions, user_ids: list[str], at_s: Float64) -> list[Items]:
    """What users had had before some times, item_indices oldest first; nothing of unknown users.

    Args:
        interactions: of all users.
        user_ids: of each time, [E].
        at_s: unix seconds, [E].
    """
    numbers = {user_id: number for number, user_id in enumerate(interactions.user_ids)}
    found = []
    for user_id, time_s in zip(user_ids, at_s.tolist(), strict=True):
        user = numbers.get(user_id)
        if user is None:
            found.append(interactions.items[:0])
            continue
        start, end = interactions.offsets[user : user + 2].tolist()
        n = int(interactions.timestamps[start:end].searchsorted(time_s))
        found.append(interactions.items[start : start + n])
    return found


def rank_places(
    explored: Explored,
    histories: Histories,
    candidate: Score,
    running: Score,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Places:
    """Rank the shown items by both models.

    What could have been drawn is what the running one ranks among its best, as many as the answer
    was drawn from.

    Args:
        explored: the answers, E of them.
        histories: of their users at their times, [E].
        candidate, running: scores float32 [B, N+1] of histories; column 0 is padding.
        on_progress: called with a number of further answers.

    Raises:
        InputError: a score is NaN.
    """
    n, n_ranks = explored.items.shape
    found = {
        name: Ranked(np.zeros((n, n_ranks)), np.zeros((n, n_ranks)))
        for name in ("candidate", "running")
    }
    start, size = 0, 1
    while start < n:
        rows = slice(start, min(n, start + size))
        items = explored.items[rows]
        scores = {
            name: _open(score(histories[rows]), histories[rows])
            for name, score in (("candidate", candidate), ("running", running))
        }
        could_be = _best(scores["running"], explored.n_candidates[rows])
        for name, one in scores.items():
            part = _follow(one, items, could_be)
            found[name].shares[rows], found[name].support[rows] = part.shares, part.support
        on_progress(len(items))
        start = rows.stop
        # The first batch, of one answer, shows the catalogue's size.
        size = max(1, min(_AT_ONCE_ROWS, _AT_ONCE_BYTES // scores["running"][0].nbytes))
    return Places(
        explored.users,
        np.arange(n_ranks) < explored.n_drawn[:, None],
        explored.clicks,
        np.exp(explored.log_propensities),
        **found,
    )


def _open(scores: Float32, histories: Histories) -> Float32:
    """Scores with -inf of what a user has had."""
    if np.isnan(scores[:, 1:]).any():
        raise InputError("the model scores items as NaN; its training must have gone wrong")
    left = np.array(scores)
    left[:, 0] = -np.inf
    for row, history in zip(left, histories, strict=True):
        row[history] = -np.inf
    return left


def _best(scores: Float32, n_best: Int64) -> npt.NDArray[np.bool_]:
    """Whether each item is among so many best ones, bool [B, N+1]."""
    flags = np.isfinite(scores)
    for row, n in enumerate(n_best.tolist()):
        if n < scores.shape[1]:
            # As the service does: of items that tie, the lower item_index is among the best.
            flags[row, np.argsort(-scores[row], kind="stable")[n:]] = False
    return flags


def _follow(scores: Float32, items: Int64, could_be: npt.NDArray[np.bool_]) -> Ranked:
    """Go down the places of some answers.

    Args:
        scores: [B, N+1]; -inf of those that are not to be recommended. What is shown is taken out.
        items: that were shown, [B, R]; 0 for none, or one that the catalogue lacks.
        could_be: whether an item could have been drawn, [B, N+1].
    """
    gains = 1 / np.log2(np.arange(2.0, K + 2))
    gains /= gains.sum()
    depth = min(K, scores.shape[1])
    found = Ranked(np.zeros(items.shape), np.zeros(items.shape))
    rows = np.arange(len(items))
    for place in range(items.shape[1]):
        best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        values = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        values = np.take_along_axis(values, order, axis=1)
        shares = np.where(np.isfinite(values), gains[:depth], 0.0)
        shown = items[:, place]
        found.shares[:, place] = (shares * (best == shown[:, None])).sum(axis=1)
        found.support[:, place] = (shares * np.take_along_axis(could_be, best, axis=1)).sum(axis=1)
        scores[rows, shown] = -np.inf
    return found
