"""Parts of a tensor, one of each process, as one tensor with gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor

from offline.training.group import Group, connected


class Gathered(torch.autograd.Function):
    """The parts of all processes one after the other, the same in each of them.

    Every process uses the whole in a share of the loss, so a part's gradient is the sum of what the
    processes have for it.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: Group) -> Tensor:
        """From a part [R, ...] to [size × R, ...]; parts have the same shape."""
        ctx.group, ctx.n_rows = group, len(part)
        parts = [
            torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(group.size)
        ]
        with connected():
            torch.distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient of this process's part, summed over the processes."""
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        with connected():
            torch.distributed.all_reduce(total)
        return total[ctx.group.rank * ctx.n_rows :][: ctx.n_rows], None


class Added(torch.autograd.Function):
    """The sum of the processes' tensors, the same in each of them, used as `Gathered` is."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:  # noqa: ARG004
        """From a tensor of each process to their sum."""
        total = part.clone(memory_format=torch.contiguous_format)
        with connected():
            torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        """The gradient of each process's tensor, summed over the processes."""
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        with connected():
            torch.distributed.all_reduce(total)
        return total
