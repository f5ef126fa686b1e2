"""How ratings are distributed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.data.interactions import Interactions

MAX_VALUES = 12
"""Different ratings that are counted one by one; of more, ten parts of the range are counted."""
_N_PARTS = 10


@dataclass(frozen=True)
class RatingCounts:
    """The ratings of a data set.

    Attributes:
        n: interactions that have one.
        mean: of the ratings.
        deviation: their standard deviation.
        counts: how many have each rating, the lowest first; of many different ones, how many are
            in each tenth of the range, by its lower end.
    """

    n: int
    mean: float
    deviation: float
    counts: dict[float, int]


def count_ratings(interactions: Interactions) -> RatingCounts | None:
    """The distribution of the ratings; None where there are none."""
    if interactions.ratings is None:
        return None
    ratings = interactions.ratings[~np.isnan(interactions.ratings)].astype(np.float64)
    if not len(ratings):
        return None
    values, numbers = np.unique(ratings, return_counts=True)
    if len(values) > MAX_VALUES:
        numbers, edges = np.histogram(ratings, _N_PARTS)
        values = edges[:-1]
    counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))
    return RatingCounts(len(ratings), float(ratings.mean()), float(ratings.std()), counts)
