"""The learning rate of a recommender's training."""

from __future__ import annotations

from offline.recommender.config import TrainingConfig
from offline.training.learning_rate import warmed_rate


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
    return warmed_rate(
        epoch * n_steps + step,
        config.epochs * n_steps,
        config.learning_rate,
        config.warm_up_steps,
        cosine=config.decay == "cosine",
    )
