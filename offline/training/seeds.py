"""torch's random numbers, from a seed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


@contextlib.contextmanager
def seeded(seed: int, module: torch.nn.Module | None = None) -> Iterator[None]:
    """torch's random numbers from a seed within; the caller's go on after as if nothing was drawn.

    Args:
        seed: 0 to 2^63 - 1.
        module: the generators of its weights' devices are seeded too; None: the CPU's alone.
    """
    devices = [] if module is None else _devices(module)
    with torch.random.fork_rng(devices=devices):
        # `torch.manual_seed` seeds all kinds of devices; for one that is absent it formats the
        # stack, which takes longer than a small step of training, and keeps it for good.
        torch.default_generator.manual_seed(seed)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def random_state(module: torch.nn.Module) -> dict[str, Tensor]:
    """The states of torch's generators, the CPU's and those of the weights' devices, by name."""
    states = {"cpu": torch.get_rng_state()}
    for device in _devices(module):
        states[str(device)] = torch.cuda.get_rng_state(device)
    return states


def restore_random_state(states: dict[str, Tensor], module: torch.nn.Module) -> None:
    """Go on with random numbers where `random_state` was called."""
    torch.set_rng_state(states["cpu"])
    for device in _devices(module):
        torch.cuda.set_rng_state(states[str(device)], device)


def stream_of(seed: int, part: int) -> int:
    """A seed for one part of a model, 0 to 2^63 - 1; each part draws numbers of its own.

    Two parts with the same seed would draw the same numbers.
    """
    return int(np.random.default_rng([seed, 0, part]).integers(2**62))


def _devices(module: torch.nn.Module) -> list[torch.device]:
    """The CUDA devices of the weights; none on a CPU."""
    return list(dict.fromkeys(p.device for p in module.parameters() if p.is_cuda))
