"""How the learning rate rises and falls."""

from __future__ import annotations

import math

from offline.recommender.config import TrainingConfig


def learning_rate_at(step: int, steps_per_epoch: int, config: TrainingConfig) -> float:
    """Learning rate of a step: a linear warm-up, and the decay that is configured.

    The decay is over the configured epochs, even where fewer are run: a training on everything,
    for as many epochs as proved best, goes the way of the one that was chosen.

    Args:
        step: from 0, counted from the beginning of a phase.
        steps_per_epoch: of this training.
        config: how to train.
    """
    rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warm_up_steps))
    if config.decay == "cosine":
        past = step / (config.epochs * steps_per_epoch)
        rate *= (1 + math.cos(math.pi * past)) / 2
    return rate
