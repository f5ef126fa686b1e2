"""The learning rate: warm-up and decay."""

from __future__ import annotations

import math

from offline.recommender.config import TrainingConfig


def learning_rate_at(epoch: int, step: int, n_steps: int, *, config: TrainingConfig) -> float:
    """Learning rate of a step: a linear warm-up, and the configured decay.

    The decay is over the configured epochs, even where fewer are run: a refit, for as many epochs
    as proved best, repeats the learning rates of the chosen training.

    Args:
        epoch: of the phase, from 0.
        step: of the epoch, from 0.
        n_steps: steps in an epoch.
        config: how to train.
    """
    done = epoch * n_steps + step
    rate = config.learning_rate * min(1.0, (done + 1) / max(1, config.warm_up_steps))
    if config.decay == "cosine":
        past = done / (config.epochs * n_steps)
        rate *= (1 + math.cos(math.pi * past)) / 2
    return rate
