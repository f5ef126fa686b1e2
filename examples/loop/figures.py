"""Click rates and their intervals. Users are independent of each other, their exposures are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Z = 1.96
"""Of a two-sided interval of 95 %."""
Floats = NDArray[np.float64]


class Estimate(TypedDict):
    """A figure with its interval of 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Counts:
    """What one policy reached with a group of users in a period, one number a user.

    Attributes:
        clicks: `[users]`.
        exposures: `[users]`, items shown.
    """

    clicks: Floats
    exposures: Floats

    def rate(self) -> Estimate:
        """Clicks per exposure."""
        return ratio(self.clicks, self.exposures)

    def above(self, other: Counts) -> Estimate:
        """The difference of two policies' clicks per exposure for the same users, paired."""
        rates = [one.clicks.sum() / one.exposures.sum() for one in (self, other)]
        parts = [
            (one.clicks - rate * one.exposures) / one.exposures.sum()
            for one, rate in zip((self, other), rates, strict=True)
        ]
        return _interval(float(rates[0] - rates[1]), parts[0] - parts[1])


def ratio(numerators: Floats, denominators: Floats) -> Estimate:
    """Sum over sum, linearised over users (the delta method)."""
    value = numerators.sum() / denominators.sum()
    return _interval(float(value), (numerators - value * denominators) / denominators.sum())


def _interval(value: float, parts: Floats) -> Estimate:
    """Of a figure whose deviation is the sum of independent parts, one a user."""
    n = len(parts)
    margin = Z * float(np.sqrt(n / (n - 1) * (parts**2).sum()))
    return {"value": value, "low": value - margin, "high": value + margin}
