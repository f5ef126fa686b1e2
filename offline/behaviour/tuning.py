"""The trainer's plan for tuning a text encoder."""

from __future__ import annotations

from functools import partial

from offline.behaviour.config import TuningConfig
from offline.training.trainer import Phase, Plan

PHASE = "tuning"


def plan_tuning(config: TuningConfig, patience: int) -> Plan:
    """A plan of one phase, in which the initial encoder may win too."""
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
    """Learning rate of a step: a linear warm-up, then a linear decay to 0.

    Args:
        epoch: from 0.
        step: of the epoch, from 0.
        n_steps: steps in the epoch.
        config: settings.
    """
    done = (epoch + step / n_steps) / config.epochs
    warm = config.warm_up_share
    # Neither the first nor the last step has a rate of 0.
    share = max(done, 1e-3) / warm if done < warm else (1 - done) / (1 - warm)
    return config.learning_rate * min(1.0, share)
