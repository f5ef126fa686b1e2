"""Adaptive aggregation of two rankings (Llama4Rec 4.4): the recommender's and a language model's.

The fewer interactions a user has, the more the language model's ranking counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Utilities = npt.NDArray[np.float64]


def long_tail_coefficient(n_interactions: int) -> float:
    """ℓ_u = log(N_u + 1), equation 5; a lower one is further in the tail."""
    return math.log(n_interactions + 1)


class Weighting(BaseModel):
    """α_u of equation 7, with its parameters.

    `alpha_1` 0 leaves the recommender's ranking as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha_1: FiniteFloat = Field(ge=0, le=1, description="the language model's largest weight")
    alpha_2: FiniteFloat = Field(ge=0, le=1, description="cut-off, as a share of alpha_1")
    l_min: FiniteFloat = Field(ge=0, description="least long-tail coefficient of training users")
    l_max: FiniteFloat = Field(ge=0, description="largest long-tail coefficient of training users")
    tail_interactions: int = Field(
        ge=0, description="largest number of interactions of a tail user"
    )

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Self:
        if self.l_min > self.l_max:
            raise ValueError(f"l_min {self.l_min} is above l_max {self.l_max}")
        return self

    @classmethod
    def of_users(cls, counts: Sequence[int], alpha_1: float, alpha_2: float) -> Self:
        """The weighting for users with so many training interactions each; at least one user.

        The fifth of them with the fewest are tail users.
        """
        ordered = sorted(counts)
        return cls(
            alpha_1=alpha_1,
            alpha_2=alpha_2,
            l_min=long_tail_coefficient(ordered[0]),
            l_max=long_tail_coefficient(ordered[-1]),
            tail_interactions=ordered[(len(ordered) - 1) // 5],
        )

    def weight(self, n_interactions: int) -> float:
        """α_u, in [0, alpha_1]; a user with fewer interactions than any other counts as l_min."""
        extent = self.l_max - self.l_min
        if extent == 0:  # no user is further in the tail than another
            return self.alpha_1
        ratio = (self.l_max - long_tail_coefficient(n_interactions)) / extent
        return max(min(ratio, 1.0), self.alpha_2) * self.alpha_1

    def is_tail(self, n_interactions: int) -> bool:
        """Whether a user is in the tail and the language model's ranking counts there."""
        return n_interactions <= self.tail_interactions and self.weight(n_interactions) > 0


def aggregate(scores: npt.ArrayLike, weight: float) -> npt.NDArray[np.intp]:
    """The order of k' candidates by both rankings (section 4.4.2, C = 1).

    A candidate's utility is -s at place s of a ranking, and utilities are mixed as in equation 6.

    Args:
        scores: [k'] of the language model, candidates in the recommender's order; higher is better,
            ties keep that order.
        weight: α_u; one half weighs both equally, as in the paper's variant without adaptive
            aggregation.

    Returns:
        positions in the recommender's order, best first; ties keep that order.
    """
    given = np.asarray(scores, dtype=np.float64)
    places = np.empty(len(given))
    places[np.argsort(-given, kind="stable")] = np.arange(1, len(given) + 1)
    utilities: Utilities = -(weight * places + (1 - weight) * np.arange(1, len(given) + 1))
    # Equal utilities differ by rounding otherwise, and would not keep the recommender's order.
    return np.argsort(-np.round(utilities, 9), kind="stable")
