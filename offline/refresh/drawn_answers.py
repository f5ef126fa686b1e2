"""What answers drawn at random say of a new model and the running one.

At each place of such an answer an item a was drawn with a logged probability p(a), given the items
above it. Imagine that a model fills the place by itself: by one of its 10 best items that are left,
drawn in proportion to 1 / log2(1 + rank), the gains of NDCG@10. With s(a) for the share of a, s for
the sum of the shares of all items that could have been drawn, c for the click, and q for the mean
clicks at this rank,

    v = s(a) / p(a) (c - q) + s q

is on average the model's clicks at the place: inverse propensity scores with the mean clicks as a
baseline, which is the doubly robust estimate by a model of clicks that knows ranks alone (Dudík et
al., "Doubly Robust Policy Evaluation and Optimization", Statistical Science 29, 2014). What
couldn't have been drawn counts as not clicked, which can only be to a model's disadvantage. Nothing
is assumed of how clicks at one place depend on others: what stands above is what had been shown.

Both models have a figure at each place, so the comparison is paired: where they agree, nothing
varies. `judge` compares the means over users.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from offline.logged.estimates import MAX_MISSING
from offline.logged.places import Places, Ranked
from offline.logged.ratio import ratio_of
from offline.refresh.non_inferiority import MIN_USERS, Judgement, Measure, judge

Float64 = npt.NDArray[np.float64]
MIN_EFFECTIVE = 100.0
"""Places. In simulations a model that loses the margin passed no more often than 5 % down to 30 of
them, as the heavy weights are those of the new model: a sample without their clicks speaks against
it. Below 100 such a model was called worse too often, in a tenth of them."""
MIN_CLICKED = 20
"""People who clicked at a drawn place. With fewer clicks nothing is ever shown of either model, and
events could tell."""
CLICKS = Measure("clicks per drawn place", "places")


@dataclass(frozen=True)
class DrawnAnswers:
    """What they say.

    Attributes:
        n_answers, n_places, n_users: with a drawn place.
        n_effective: (Σ w)² / Σ w² of the weights w = s(a) / p(a) over places, of the model that has
            less of it.
        support: mean of s, of the model that has less of it.
        judgement: None where they can't tell.
        why_not: the reason then; else None.
    """

    n_answers: int
    n_places: int
    n_users: int
    n_effective: float
    support: float
    judgement: Judgement | None
    why_not: str | None

    def to_document(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "answers": self.n_answers,
            "places": self.n_places,
            "users": self.n_users,
            "effective_sample_size": round(self.n_effective, 1),
            "support": round(self.support, 4),
            "judgement": None if self.judgement is None else self.judgement.to_document(),
            "why_not": self.why_not,
        }


def judge_drawn(places: Places, *, margin: float, confidence: float) -> DrawnAnswers:
    """Compare both models on drawn answers.

    Args:
        places: of the answers.
        margin, confidence: as for `judge`.
    """
    drawn = places.is_drawn
    users = np.repeat(places.users, drawn.sum(axis=1))
    n_users, n_places = len(np.unique(users)), len(users)
    models = (places.candidate, places.running)
    weights = [(one.shares / places.propensities)[drawn] for one in models]
    support = [one.support[drawn] for one in models]
    n_effective = min(map(_effective, weights))
    least = min((float(one.mean()) for one in support), default=0.0) if n_places else 0.0
    counts = (int(drawn.any(axis=1).sum()), n_places, n_users, n_effective, least)
    clicked = (places.clicks * drawn).any(axis=1)
    n_clicked = len(np.unique(places.users[clicked]))
    why_not = _why_not(*counts[1:], n_clicked) or _mismatch(weights, support, users)
    if why_not is not None:
        return DrawnAnswers(*counts, None, why_not)
    candidate, running = (_figures(places, one) for one in models)
    found = judge(users, candidate, running, margin=margin, confidence=confidence, measure=CLICKS)
    return DrawnAnswers(*counts, found, None)


def _figures(places: Places, model: Ranked) -> Float64:
    """v of each drawn place, [S]."""
    drawn = places.is_drawn
    by_rank = (places.clicks * drawn).sum(axis=0) / np.maximum(1, drawn.sum(axis=0))
    weights = model.shares / places.propensities
    values: Float64 = (weights * (places.clicks - by_rank) + model.support * by_rank)[drawn]
    return values


def _effective(weights: Float64) -> float:
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _why_not(
    n_places: int, n_users: int, n_effective: float, support: float, n_clicked: int
) -> str | None:
    if n_users < MIN_USERS:
        return f"{n_users} users with such answers, and {MIN_USERS} are needed"
    if n_effective < MIN_EFFECTIVE:
        return (
            f"effective sample size {n_effective:.1f} of {n_places:,} places, and "
            f"{MIN_EFFECTIVE:g} are needed"
        )
    if n_clicked < MIN_CLICKED:
        return f"{n_clicked} users clicked at a drawn place, and {MIN_CLICKED} are needed"
    if support < 1 - MAX_MISSING:
        return (
            f"{100 * (1 - support):.1f} % of what a model would show could not have been drawn, "
            f"and {100 * MAX_MISSING:g} % are tolerated"
        )
    return None


def _mismatch(
    weights: list[Float64], support: list[Float64], users: npt.NDArray[np.int64]
) -> str | None:
    """Weights must come to the support on average, if propensities and rankings are right."""
    for name, own, expected in zip(("new", "running"), weights, support, strict=True):
        off = ratio_of(own - expected, np.ones(len(own)), users)
        if math.isfinite(off.low) and (off.low > MAX_MISSING or off.high < -MAX_MISSING):
            return (
                f"the mean weight of the {name} model is off by {off.value:+.3f} "
                f"({off.low:+.3f} to {off.high:+.3f}): answers were not drawn as the log says, or "
                "rules changed them"
            )
    return None
