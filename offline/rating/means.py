"""Means of ratings, shrunk where there are few: baselines, and answers for the unknown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.rating.ratings import Ratings

Float32 = npt.NDArray[np.float32]

SHRINKAGE = 5.0
"""Ratings of the global mean that are added to those of each user and item."""


@dataclass(frozen=True)
class Means:
    """Means of all users and items; row 0, of the unknown ones, is the global mean.

    users: float32 [U+1]. items: float32 [N+1].
    """

    users: Float32
    items: Float32

    @classmethod
    def of(cls, ratings: Ratings, n_users: int, n_items: int) -> Means:
        """The means of ratings."""
        mean = float(ratings.values.mean(dtype=np.float64))
        return cls(
            _shrunk(ratings.users, ratings.values, n_users, mean),
            _shrunk(ratings.items, ratings.values, n_items, mean),
        )


def _shrunk(rows: npt.NDArray[np.int32], values: Float32, n_rows: int, mean: float) -> Float32:
    counts = np.bincount(rows, minlength=n_rows + 1)
    sums = np.bincount(rows, weights=values - np.float64(mean), minlength=n_rows + 1)
    shrunk: Float32 = (mean + sums / (counts + SHRINKAGE)).astype(np.float32)
    return shrunk
