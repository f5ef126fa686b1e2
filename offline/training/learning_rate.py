"""The learning rate: warm-up and decay."""

from __future__ import annotations

import math


def warmed_rate(
    done: int, n_steps: int, highest: float, warm_up_steps: int, *, cosine: bool
) -> float:
    """Learning rate of a step: a linear warm-up, and with `cosine` a decay to 0.

    Args:
        done: steps before this one.
        n_steps: of the whole training.
        highest: the rate without warm-up and decay.
        warm_up_steps: of them, at the beginning.
        cosine: decay by half a wave of the cosine over the whole training.
    """
    rate = highest * min(1.0, (done + 1) / max(1, warm_up_steps))
    if cosine:
        rate *= (1 + math.cos(math.pi * done / n_steps)) / 2
    return rate
