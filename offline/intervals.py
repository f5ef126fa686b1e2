"""Standard errors of means, and Student's intervals around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Float64 = npt.NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Uncertainty:
    """The uncertainty of a mean; NaN for a single value.

    Attributes:
        standard_error: of the mean.
        margin: half of its 95 % interval.
    """

    standard_error: float
    margin: float


def standard_error(values: Float64) -> float:
    """Standard error of a mean over cases; NaN of fewer than two."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def uncertainty_of(values: Float64) -> Uncertainty:
    """That of the mean of [seeds, users], where both were drawn; of one seed, over users alone.

    The variances of the two add: that between users, averaged over seeds, and that between seeds,
    which counts the variance within a cell twice. As seeds are few, the interval is Student's with
    the degrees of freedom of Welch and Satterthwaite: near the normal one where users differ most,
    and twice as wide where three seeds do.
    """
    if values.shape[1] < 2:
        return Uncertainty(float("nan"), float("nan"))
    means = [values.mean(axis=0), values.mean(axis=1)]
    parts = [(standard_error(mean) ** 2, len(mean) - 1) for mean in means if len(mean) > 1]
    variance = sum(part for part, _ in parts)
    if not variance:
        return Uncertainty(0.0, 0.0)
    degrees = variance**2 / sum(part**2 / free for part, free in parts)
    error = float(np.sqrt(variance))
    return Uncertainty(error, float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) * error)
