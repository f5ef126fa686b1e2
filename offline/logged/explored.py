"""Answers whose first ranks were drawn with known probabilities, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from model_store.id_map import IdMap
from offline.logged.answers import CLICKED

N_FOLDS = 5

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Explored:
    """E answers, and R ranks of each: as many as were drawn in any of them.

    Attributes:
        user_ids: of each answer.
        users: numbers of these from 0, int64 [E].
        folds: of the users, below N_FOLDS, int64 [E].
        at_s: unix seconds, [E].
        items: item_index at each rank, int64 [E, R]; 0 for none, and for one that is unknown.
        clicks: 1 where it was clicked, [E, R].
        log_propensities: given the items above, [E, R]; 0 at ranks that were not drawn.
        n_drawn, n_shown: ranks that were drawn, and that the answer has at all, int64 [E].
        n_candidates: that were drawn from, int64 [E].
    """

    user_ids: list[str]
    users: Int64
    folds: Int64
    at_s: Float64
    items: Int64
    clicks: Float64
    log_propensities: Float64
    n_drawn: Int64
    n_shown: Int64
    n_candidates: Int64

    def __len__(self) -> int:
        return len(self.users)

    @property
    def shown(self) -> npt.NDArray[np.bool_]:
        """Whether an answer has a rank, bool [E, R]."""
        has: npt.NDArray[np.bool_] = np.arange(self.items.shape[1]) < self.n_shown[:, None]
        return has

    def drawn_to(self, n_ranks: int) -> npt.NDArray[np.bool_]:
        """Answers all of whose first ranks were drawn, as far as they have them, bool [E]."""
        complete: npt.NDArray[np.bool_] = self.n_drawn >= np.minimum(n_ranks, self.n_shown)
        return complete


def explored_of(answers: pl.DataFrame, item_ids: IdMap) -> Explored:
    """Those of some answers that were drawn.

    Args:
        answers: of `read_answers`.
        item_ids: whose item_indices are given.
    """
    drawn = answers.filter(pl.col("log_propensities").list.len() > 0)
    n, n_ranks = len(drawn), int(drawn["log_propensities"].list.len().max() or 0)  # type: ignore[arg-type]
    items, clicks, propensities = (np.zeros((n, n_ranks)) for _ in range(3))
    for row, (ids, clicked, logs) in enumerate(
        drawn.select("item_ids", CLICKED, "log_propensities").iter_rows()
    ):
        first = ids[:n_ranks]
        items[row, : len(first)] = [item_ids.index_of(one) or 0 for one in first]
        clicks[row, : len(first)] = clicked[:n_ranks]
        propensities[row, : len(logs)] = logs
    users = drawn["user_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    return Explored(
        user_ids=drawn["user_id"].to_list(),
        users=users,
        folds=users % N_FOLDS,
        at_s=drawn["timestamp"].to_numpy(),
        items=items.astype(np.int64),
        clicks=clicks,
        log_propensities=propensities,
        n_drawn=drawn["log_propensities"].list.len().to_numpy().astype(np.int64),
        n_shown=drawn["item_ids"].list.len().to_numpy().astype(np.int64),
        n_candidates=drawn["n_candidates"].to_numpy(),
    )
