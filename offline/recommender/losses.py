"""Softmax losses over the catalogue."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_SILENCED = -1e9
_CHUNK_ROWS = 512  # of logits made at a time


class _CatalogueCrossEntropy(torch.autograd.Function):
    """Cross-entropy of `users @ table.T`, its gradients made chunk by chunk on the way forward."""

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, table: Tensor, targets: Tensor, label_smoothing: float
    ) -> Tensor:
        on_others = label_smoothing / len(table)
        on_target = 1.0 - label_smoothing
        users_gradient, table_gradient = torch.empty_like(users), torch.zeros_like(table)
        columns = table.T.contiguous()
        block = users.new_empty(min(_CHUNK_ROWS, len(users)), len(table))
        loss = users.new_zeros(())
        for start in range(0, len(users), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            chunk, wanted = users[rows], targets[rows].unsqueeze(1)
            logits = torch.mm(chunk, columns, out=block[: len(chunk)])
            loss -= on_target * logits.gather(1, wanted).sum()
            if label_smoothing:
                loss -= on_others * logits.sum()
            peak = logits.amax(dim=1, keepdim=True)
            chances = logits.sub_(peak).exp_()
            total = chances.sum(dim=1, keepdim=True)
            loss += (total.log() + peak).sum()
            errors = chances.div_(total).sub_(on_others)
            errors.scatter_add_(1, wanted, -on_target * torch.ones_like(total))
            torch.mm(errors, table, out=users_gradient[rows])
            table_gradient.addmm_(errors.T, chunk)
        ctx.save_for_backward(users_gradient.div_(len(users)), table_gradient.div_(len(users)))
        return loss / len(users)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        users_gradient, table_gradient = ctx.saved_tensors
        return users_gradient * gradients[0], table_gradient * gradients[0], None, None


def catalogue_cross_entropy(
    users: Tensor, table: Tensor, targets: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of each position's target against every item of the table.

    The value and the gradients of `F.cross_entropy(users @ table.T, targets)`, in chunks that
    stay near the cache: on a CPU half the time of that, or of `F.linear_cross_entropy`, and never
    [P, C] logits in memory.

    Args:
        users: float32 [P, D].
        table: float32 [C, D], the items that take part.
        targets: int64 [P], rows of `table`.
        label_smoothing: weight spread evenly over all C items.
    """
    loss: Tensor = _CatalogueCrossEntropy.apply(users, table, targets, label_smoothing)  # type: ignore[no-untyped-call]
    return loss


def sampled_cross_entropy(
    users: Tensor, table: Tensor, targets: Tensor, negatives: Tensor, log_expected: Tensor
) -> Tensor:
    """Mean cross-entropy over the target and negatives drawn once for the whole batch.

    A negative's logit is lowered by the log of how often it is expected in the draw (the logQ
    correction), so the sum over the sample estimates the sum over the catalogue; a negative that
    is the target itself is left out of that row.

    Args:
        users: float32 [P, D].
        table: float32 [C, D].
        targets: int64 [P], rows of `table`.
        negatives: int64 [S], rows of `table`.
        log_expected: float32 [S], log of S times the chance of each negative in one draw.
    """
    target_logits = (users * table[targets]).sum(dim=1, keepdim=True)
    logits = users @ table[negatives].T - log_expected
    logits = logits.masked_fill(negatives[None, :] == targets[:, None], _SILENCED)
    first = torch.zeros_like(targets)
    return F.cross_entropy(torch.cat([target_logits, logits], dim=1), first)
