"""Whether a new model is not worse than the running one, on the same users.

Both rank the same cases. A user's figure is the mean of the user's cases, such as their NDCG@10;
users are independent of each other, their cases are not. Of users with figures c (the new model's)
and r (the running one's) the claim is that the means keep

    E[c] > (1 - margin) E[r],

and it is shown by a one-sided paired t test of the contrast c - (1 - margin) r against 0, which
takes into account that the running model's own figure is uncertain (non-inferiority of a ratio of
means as in Hauschke, Kieser and Hothorn, *Biometrical Journal* 41, 1999; here of paired figures).
Of figures of which less is better, such as squared errors, the claim is E[c] < (1 + margin) E[r],
and the contrast (1 + margin) r - c.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

MIN_USERS = 30
"""Of fewer users no test of means is trusted."""

Float64 = npt.NDArray[np.float64]
Word = Literal["better", "not worse", "worse", "undecided"]


@dataclass(frozen=True)
class Measure:
    """What is compared, in words.

    Attributes:
        figure: of a case.
        cases: what they are called.
        is_loss: whether less of it is better.
    """

    figure: str
    cases: str
    is_loss: bool = False


NDCG = Measure("NDCG@10", "events")
SQUARED_ERROR = Measure("squared error", "ratings", is_loss=True)


@dataclass(frozen=True)
class Judgement:
    """What the test says.

    Attributes:
        word: `better`: shown to be better than the running model. `not worse`: shown to lose less
            than the margin. `worse`: shown to lose more than it. `undecided`: none of these.
        n_users, n_cases: compared.
        candidate, running: mean over users of the figure; NaN of no users.
        low, high: one-sided bounds, each at the confidence, of candidate - running.
        contrast_low, contrast_high: the same of the contrast, which is above 0 where the loss is
            less than the margin.
        margin, confidence, measure: as for `judge`.
    """

    word: Word
    n_users: int
    n_cases: int
    candidate: float
    running: float
    low: float
    high: float
    contrast_low: float
    contrast_high: float
    margin: float
    confidence: float
    measure: Measure = NDCG

    @property
    def passes(self) -> bool:
        """Whether it is shown that the new model is not worse."""
        return self.word in {"better", "not worse"}

    @property
    def reason(self) -> str:
        """One line for people."""
        if self.n_users < MIN_USERS:
            return f"{self.n_users} users in the newest slice, and {MIN_USERS} are needed to tell"
        lost, sure = f"{100 * self.margin:g} %", f"{100 * self.confidence:g} % one-sided"
        meaning = {
            "better": "it is better",
            "not worse": f"a loss of {lost} or more is ruled out",
            "worse": f"it loses more than {lost}",
            "undecided": f"a loss of {lost} is not ruled out",
        }
        return (
            f"{self.measure.figure} {self.candidate:.4f}, the running model {self.running:.4f} "
            f"({self.candidate - self.running:+.4f}, {self.low:+.4f} to {self.high:+.4f}) on "
            f"{self.n_cases:,} {self.measure.cases} of {self.n_users:,} users; "
            f"{meaning[self.word]} ({sure})"
        )

    def to_document(self) -> dict[str, Any]:
        """In JSON's types: what can't be told is null."""
        found = {**asdict(self), "reason": self.reason}
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in found.items()
        }


def judge(
    users: npt.NDArray[np.integer],
    candidate: Float64,
    running: Float64,
    *,
    margin: float,
    confidence: float,
    measure: Measure = NDCG,
) -> Judgement:
    """Judge by the gains of cases.

    Args:
        users: of each case, int [C].
        candidate: each case's figure by the new model, [C].
        running: by the running one, [C].
        margin: the largest loss that is tolerated, as a share of the running model's mean; between
            0 and 1.
        confidence: of each one-sided bound, above .5 and below 1.
        measure: what the figures are.
    """
    c, r = _means_by_user(users, candidate), _means_by_user(users, running)
    low, high = _bounds(c - r, confidence)
    contrast = (1 + margin) * r - c if measure.is_loss else c - (1 - margin) * r
    contrast_low, contrast_high = _bounds(contrast, confidence)
    word: Word = "undecided"
    if len(c) >= MIN_USERS:
        if (high < 0) if measure.is_loss else (low > 0):
            word = "better"
        elif contrast_low > 0:
            word = "not worse"
        elif contrast_high < 0:
            word = "worse"
    return Judgement(
        word=word,
        n_users=len(c),
        n_cases=len(users),
        candidate=_mean(c),
        running=_mean(r),
        low=low,
        high=high,
        contrast_low=contrast_low,
        contrast_high=contrast_high,
        margin=margin,
        confidence=confidence,
        measure=measure,
    )


def _mean(values: Float64) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _means_by_user(users: npt.NDArray[np.integer], values: Float64) -> Float64:
    """The mean of each user's cases, [U]."""
    _, numbers, counts = np.unique(users, return_inverse=True, return_counts=True)
    means: Float64 = np.bincount(numbers, weights=values, minlength=len(counts)) / counts
    return means


def _bounds(values: Float64, confidence: float) -> tuple[float, float]:
    """Student's one-sided bounds of a mean; infinite of fewer than two values."""
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    mean = float(values.mean())
    error = float(values.std(ddof=1) / np.sqrt(n))
    reach = float(stats.t.ppf(confidence, n - 1)) * error
    return mean - reach, mean + reach
