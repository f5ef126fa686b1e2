"""A ratio of sums over users, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from offline.intervals import CONFIDENCE

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """A ratio and its 95 % interval.

    Attributes:
        value: Σ y / Σ x; NaN where Σ x is 0.
        low, high: of the interval; NaN of fewer than two users, or where all have the same ratio.
        n_users: with x or y.
    """

    value: float
    low: float
    high: float
    n_users: int

    @property
    def has_interval(self) -> bool:
        """Whether the interval can be told."""
        return math.isfinite(self.low)


def ratio_of(numerators: Float64, denominators: Float64, users: npt.NDArray[np.int64]) -> Ratio:
    """Σ y / Σ x over cases, where users are independent of each other and their cases are not.

    The variance is that of the delta method, n / (n - 1) Σ (y_u - R x_u)² / (Σ x_u)² over the
    users' sums (Deng, Knoblich and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018,
    section 3), the interval Student's with n - 1 degrees of freedom.

    Args:
        numerators: y of each case, [C].
        denominators: x of each case, at least 0, [C].
        users: of each case, numbers from 0, [C].
    """
    if not len(users):
        return Ratio(math.nan, math.nan, math.nan, 0)
    x, y = (np.bincount(users, weights=values) for values in (denominators, numerators))
    present = np.bincount(users) > 0
    x, y = x[present], y[present]
    n, total = len(x), float(x.sum())
    if not total > 0:
        return Ratio(math.nan, math.nan, math.nan, n)
    value = float(y.sum()) / total
    squares = float(((y - value * x) ** 2).sum())
    if n < 2 or squares <= 1e-24 * total:
        return Ratio(value, math.nan, math.nan, n)
    error = math.sqrt(n / (n - 1) * squares) / total
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    return Ratio(value, value - margin, value + margin, n)
