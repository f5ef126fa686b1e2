"""How a text encoder is tuned, as a plan for the trainer."""

from __future__ import annotations

from functools import partial

from offline.behaviour.config import TuningConfig
from offline.training.trainer import Phase, Plan

PHASE = "tuning"


def plan_tuning(config: TuningConfig, patience: int) -> Plan:
    """One phase, and the encoder as it was is one of those to choose from."""
    return Plan(
        phases=(Phase(PHASE, config.epochs),),
        patience=patience,
        seed=config.seed,
        learning_rate=config.learning_rate,
        schedule=partial(tuning_rate_at, config=config),
        weight_decay=config.weight_decay,
        validate_start=True,
    )


def tuning_rate_at(epoch: int, step: int, n_steps: int, *, config: TuningConfig) -> float:
    """Learning rate of a step: a linear warm-up, then a linear fall to nothing.

    Args:
        epoch: from 0.
        step: of the epoch, from 0.
        n_steps: steps in the epoch.
        config: how to tune.
    """
    done = (epoch + step / n_steps) / config.epochs
    warm = config.warm_up_share
    # The first step isn't one of nothing, nor the last.
    share = max(done, 1e-3) / warm if done < warm else (1 - done) / (1 - warm)
    return config.learning_rate * min(1.0, share)
