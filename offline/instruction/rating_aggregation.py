"""Predicted ratings of two models in one, by how far in the tail a user is (Llama4Rec 4.4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_store.aggregation import Weighting
from offline.instruction.shortlists import ALPHAS

Float32 = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]


def aggregate_ratings(
    base: Float32, other: Float32, counts: Counts, weighting: Weighting
) -> Float32:
    """α_u U_LLM + (1 - α_u) U_Rec (equation 6), float32 [n].

    Args:
        base: U_Rec, float32 [n].
        other: U_LLM, float32 [n], on the same scale.
        counts: training ratings of each one's user, int64 [n].
        weighting: α_u (equation 7).
    """
    different, places = np.unique(counts, return_inverse=True)
    of_counts = np.array([weighting.weight(int(count)) for count in different], np.float32)
    weights = of_counts[places.ravel()]
    mixed: Float32 = (weights * other + (1 - weights) * base).astype(np.float32)
    return mixed


def choose_rating_weighting(
    base: Float32,
    other: Float32,
    values: Float32,
    counts: Counts,
    user_counts: Sequence[int],
) -> Weighting:
    """The weighting with the smallest RMSE; of equal ones that which weighs the others least.

    Args:
        base: U_Rec of validation ratings, float32 [n].
        other: U_LLM, float32 [n].
        values: the ratings, float32 [n], one at least.
        counts: training ratings of each one's user, int64 [n].
        user_counts: training ratings of each user who has some.
    """

    def squared_error(weighting: Weighting) -> float:
        errors = aggregate_ratings(base, other, counts, weighting) - values
        return float(np.mean(errors**2, dtype=np.float64))

    pairs = [(0.0, 0.0), *((first, second) for first in ALPHAS for second in ALPHAS)]
    # min() keeps the first of equal ones.
    return min((Weighting.of_users(user_counts, *pair) for pair in pairs), key=squared_error)
