"""RMSE and MAE of predicted ratings, with paired intervals over users; tail users apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from offline.intervals import uncertainty_of
from offline.rating.baselines import RatingPredictor
from offline.rating.ratings import Ratings, RatingSplit

Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

TAIL_SHARE = 0.2
PROTOCOL = (
    "Ratings that were held out, predicted by models of the training ratings alone and clipped to "
    "their scale. Choices are made on validation. Differences are paired, with 95 % intervals over "
    "users; tail: the fifth of the users with the fewest training ratings."
)


@dataclass(frozen=True)
class RatingFigures:
    """Figures of one model on held-out ratings.

    Attributes:
        rmse: root of the mean squared error.
        mae: mean absolute error.
        n: ratings.
    """

    rmse: float
    mae: float
    n: int

    @classmethod
    def of(cls, predicted: Float32, values: Float32) -> RatingFigures:
        """The figures of predictions of one rating or more."""
        return cls.of_errors((predicted - values).astype(np.float64))

    @classmethod
    def of_errors(cls, errors: npt.NDArray[np.float64]) -> RatingFigures:
        """The figures of predictions minus ratings, one or more."""
        return cls(float(np.sqrt(np.mean(errors**2))), float(np.abs(errors).mean()), len(errors))


@dataclass(frozen=True)
class Difference:
    """A model's RMSE minus another's on the same ratings, and half of its 95 % interval.

    The margin is None where the ratings are of one user.
    """

    rmse: float
    margin: float | None


def find_tail(train: Ratings, n_users: int) -> Bool:
    """The fifth of the users with the fewest training ratings, bool [U+1]; ties to the first."""
    counts = np.bincount(train.users, minlength=n_users + 1)[1:]
    tail = np.zeros(n_users + 1, np.bool_)
    tail[1 + np.argsort(counts, kind="stable")[: int(n_users * TAIL_SHARE)]] = True
    return tail


def compare(
    predicted: Float32, other: Float32, held_out: Ratings, among: Bool | None = None
) -> Difference:
    """How much larger the RMSE of predictions is than that of others, paired over users.

    Users are what is drawn: squared errors of one user go together. By the delta method the
    difference of two roots varies as the difference of squared errors over the sum of the roots.

    Args:
        predicted: float32 [n].
        other: float32 [n], of the model to compare with.
        held_out: the ratings.
        among: bool [n], the ratings that count; None: all.
    """
    if among is not None:
        predicted, other, held_out = predicted[among], other[among], held_out.chosen(among)
    first, second = (RatingFigures.of(each, held_out.values).rmse for each in (predicted, other))
    gains = (predicted - held_out.values).astype(np.float64) ** 2
    gains -= (other - held_out.values).astype(np.float64) ** 2
    if not gains.any():
        return Difference(0.0, 0.0)
    users, places = np.unique(held_out.users, return_inverse=True)
    # Sums of each user's deviations, whose mean over users is 0, over the ratings of a user.
    sums = np.bincount(places, weights=gains - gains.mean()) / (len(gains) / len(users))
    if len(users) < 2:
        return Difference(first - second, None)
    return Difference(first - second, uncertainty_of(sums[None, :]).margin / (first + second))


def figures_of(
    models: Sequence[RatingPredictor], split: RatingSplit, tail: Bool, scale: tuple[float, float]
) -> dict[str, dict[str, dict[str, Any]]]:
    """By model, part and group of users: the figures, and the difference to the first model.

    Args:
        models: fitted.
        split: its validation and test parts are predicted.
        tail: bool [U+1], the users with the fewest training ratings.
        scale: predictions are clipped to it.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {model.name: {} for model in models}
    for part, held_out in (("validation", split.validation), ("test", split.test)):
        groups = {"all": np.ones(len(held_out), np.bool_), "tail": tail[held_out.users]}
        predicted = [np.clip(model.predict(held_out), *scale) for model in models]
        for model, own in zip(models, predicted, strict=True):
            found[model.name][part] = {
                group: {
                    **asdict(RatingFigures.of(own[among], held_out.values[among])),
                    "difference": asdict(compare(own, predicted[0], held_out, among)),
                }
                for group, among in groups.items()
                if among.any()
            }
    return found
