"""torch's random numbers, from a seed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded(seed: int, module: torch.nn.Module | None = None) -> Iterator[None]:
    """torch's random numbers from a seed within; the caller's go on after as if nothing was drawn.

    Args:
        seed: 0 to 2^63 - 1.
        module: the generator of its weights' device is seeded too; None: the CPU's alone.
    """
    devices = [] if module is None else [p.device for p in module.parameters() if p.is_cuda][:1]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def stream_of(seed: int, part: int) -> int:
    """A seed for one part of a model, 0 to 2^63 - 1; each part draws numbers of its own.

    Two parts with the same seed would draw the same numbers.
    """
    return int(np.random.default_rng([seed, 0, part]).integers(2**62))
