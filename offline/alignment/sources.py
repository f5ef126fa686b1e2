"""Sources of experiences in this process: a sampler, once a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from offline.alignment.experience import Experience, Learner
from offline.alignment.samplers import OnlineSampler, PoolSampler


class SamplerSource:
    """Draws in the trainer's process; what it draws depends on seed, step and weights alone.

    Args:
        sampler: shares the models with the learner.
        seed: of the draws.
    """

    def __init__(self, sampler: OnlineSampler | PoolSampler, seed: int) -> None:
        self._sampler, self._seed = sampler, seed

    def take(self, step: int) -> Sequence[Experience]:
        """See `Source.take`."""
        if isinstance(self._sampler, OnlineSampler):
            self._sampler.snapshot = step - 1
        return self._sampler.draw(np.random.default_rng([self._seed, step]))

    def updated(self, step: int, learner: Learner) -> None:
        """The sampler reads the learner's own weights."""

    def figures(self) -> Mapping[str, float]:
        """None of its own."""
        return {}

    def close(self) -> None:
        """Nothing runs in the background."""
