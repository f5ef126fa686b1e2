"""Ratings of any scale as the five whole numbers that a language model answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from model_store.rerank_prompt import RATINGS

Float32 = npt.NDArray[np.float32]
_STEPS = len(RATINGS)


@dataclass(frozen=True)
class RatingScale:
    """Scales up to five are left as they are, longer ones, such as 1 to 10, are shrunk.

    Attributes:
        unit: of the scale, in one step of five.
    """

    unit: float

    @classmethod
    def of(cls, ratings: Float32) -> Self:
        """The scale that ratings have; NaN is none."""
        return cls(max(float(np.nanmax(ratings, initial=1.0)) / _STEPS, 1.0))

    def steps_of(self, ratings: Float32) -> Float32:
        """Whole numbers 1 to 5 for ratings; NaN where there is none."""
        # Halves are rounded up: numpy would round them to the even one.
        steps: Float32 = np.clip(np.floor(ratings / self.unit + 0.5), 1, _STEPS).astype(np.float32)
        return steps

    def rating_of(self, steps: Float32) -> Float32:
        """Ratings of the scale for numbers 1 to 5, whole or not."""
        ratings: Float32 = (steps * np.float32(self.unit)).astype(np.float32)
        return ratings
