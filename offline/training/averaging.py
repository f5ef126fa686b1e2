"""Weights averaged over the last steps of a training (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_FIRST_STEPS = 9  # count more than their share, until there are enough to average over


class WeightAverage:
    """An exponential moving average of a module's parameters.

    The weights after a single step depend on its batch. Their average over about an epoch does so
    less, and costs nothing to serve: it is one set of weights of the same shape.

    Args:
        module: whose parameters are averaged, from where they are now.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._parameters = dict(module.named_parameters())
        self._average = {n: p.detach().clone() for n, p in self._parameters.items()}
        self.n_steps = 0

    def update(self, horizon: float) -> None:
        """Add the parameters after one more step.

        Args:
            horizon: steps that the average looks back over, 1 or more.
        """
        self.n_steps += 1
        share = max(1.0 / horizon, _FIRST_STEPS / (_FIRST_STEPS + 1 + self.n_steps))
        latest = [parameter.detach() for parameter in self._parameters.values()]
        torch._foreach_lerp_(list(self._average.values()), latest, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context the module holds the average; its own parameters after it."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self._parameters.items():
            own = parameter.detach().clone()
            parameter.copy_(self._average[name])
            self._average[name].copy_(own)

    def tensors(self) -> dict[str, Tensor]:
        """The average by the parameters' names, for a checkpoint."""
        return dict(self._average)

    def restore(self, tensors: dict[str, Tensor], n_steps: int) -> None:
        """Restore the average from a checkpoint."""
        for name, average in self._average.items():
            average.copy_(tensors[name])
        self.n_steps = n_steps
