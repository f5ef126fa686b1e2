"""Estimates the time of an epoch, measured on some of its steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from offline.training.optimizer import new_optimizer
from offline.training.seeds import seeded
from offline.training.trainer import Plan, Task

_BUDGET_S = 1.5
_FIRST_STEPS = 2  # not counted: memory is allocated, kernels are chosen


@dataclass(frozen=True)
class Pace:
    """A measured pace.

    Attributes:
        epoch_s: seconds that an epoch's steps take; validation not counted.
        n_measured: number of measured steps.
    """

    epoch_s: float
    n_measured: int


def measure_pace(task: Task[Any], plan: Plan, budget_s: float = _BUDGET_S) -> Pace:
    """Train for some steps at a learning rate of 0, and time them.

    Args:
        task: the task; its weights stay as they are.
        plan: of the training.
        budget_s: stop after about this many seconds.
    """
    rng = np.random.default_rng(plan.seed)
    task.begin(plan.phases[0].name)
    optimizer = new_optimizer(task.module, 0.0, 0.0, lazy=plan.lazy)
    task.module.train()
    batches, started, n_measured = task.batches(rng), time.perf_counter(), 0
    with seeded(plan.seed, task.module):
        for step, batch in enumerate(batches):
            if step == _FIRST_STEPS:
                started = time.perf_counter()
            loss = task.loss(batch, rng)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss.item()
            n_measured = step + 1 - _FIRST_STEPS if step >= _FIRST_STEPS else step + 1
            if time.perf_counter() - started > budget_s:
                break
    task.module.eval()
    seconds = time.perf_counter() - started
    return Pace(len(batches) * seconds / max(1, n_measured), n_measured)
