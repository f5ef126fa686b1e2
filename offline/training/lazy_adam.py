"""AdamW that leaves alone what a step didn't read of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class LazyAdamW(torch.optim.AdamW):
    """AdamW; of a parameter with a sparse gradient, it changes the rows of that gradient alone.

    A step's cost and memory traffic are those of the rows, whatever the table's size. On these rows
    it is AdamW: moments, weight decay, and a bias correction that counts all steps. On other rows
    AdamW would let the moments fade, move on by what is left of them, and decay the weights; here
    such a row keeps its moments and weights until it is read again. With weight decay 0 it is
    `torch.optim.SparseAdam`, which has no decay and shares no step with dense parameters.

    A sparse gradient names each row once, or is summed where it doesn't.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; the gradients of tables are used up by it."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None and gradient.is_sparse:
                    self._update_rows(parameter, gradient.coalesce(), group)
                    parameter.grad = None
        return super().step(closure)  # type: ignore[no-any-return]

    def _update_rows(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(table)
            state["exp_avg_sq"] = torch.zeros_like(table)
        state["step"] += 1
        rows, values = gradient.indices()[0], gradient.values()
        first, second = group["betas"]
        mean = state["exp_avg"].index_select(0, rows).lerp_(values, 1 - first)
        square = state["exp_avg_sq"].index_select(0, rows).mul_(second)
        square.addcmul_(values, values, value=1 - second)
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        n_steps, rate = float(state["step"]), float(group["lr"])
        divisor = square.sqrt_().div_((1 - second**n_steps) ** 0.5).add_(group["eps"])
        new = table.index_select(0, rows).mul_(1 - rate * group["weight_decay"])
        new.addcdiv_(mean, divisor, value=-rate / (1 - first**n_steps))
        table.index_copy_(0, rows, new)
