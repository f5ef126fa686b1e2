"""A small model of clicks, for the doubly robust estimate: rank times item.

It need not be right: what it predicts wrongly, the weighted clicks correct.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.logged.explored import N_FOLDS, Explored, Float64

PRIOR_CLICKS = 10.0
"""An item's clicks count against as many expected ones, which an average item would have had."""


@dataclass(frozen=True)
class ClickModel:
    """Expected clicks at a rank, by fold: fitted on the users of all other folds.

    Attributes:
        by_rank: mean clicks at each rank, [F, R].
        multipliers: of each item, relative to an average one at its rank, [F, N+1].
    """

    by_rank: Float64
    multipliers: Float64


def fit_clicks(explored: Explored, n_items: int) -> ClickModel:
    """Fit it.

    Args:
        explored: the answers.
        n_items: N.
    """
    n_ranks = explored.items.shape[1]
    by_rank = np.zeros((N_FOLDS, n_ranks))
    multipliers = np.ones((N_FOLDS, n_items + 1))
    for fold in range(N_FOLDS):
        others = explored.folds != fold
        shown, items = explored.shown[others], explored.items[others]
        clicks = explored.clicks[others]
        by_rank[fold] = clicks.sum(axis=0) / np.maximum(1, shown.sum(axis=0))
        expected = shown * by_rank[fold]
        sums = [
            np.bincount(items.ravel(), weights=values.ravel(), minlength=n_items + 1)
            for values in (clicks, expected)
        ]
        multipliers[fold] = (sums[0] + PRIOR_CLICKS) / (sums[1] + PRIOR_CLICKS)
    return ClickModel(by_rank, multipliers)
