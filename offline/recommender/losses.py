"""Losses over the catalogue, or a sample of it.

The softmax losses compute their gradients in the forward pass, chunk by chunk: on a CPU that takes
half the time of autograd on the same formula, and [P, C] logits are never in memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_CHUNK_ROWS = 512  # of logits at a time


class _CatalogueCrossEntropy(torch.autograd.Function):
    """Cross-entropy of `users @ table.T`."""

    @staticmethod
    def forward(
        ctx: Any,
        users: Tensor,
        table: Tensor,
        targets: Tensor,
        label_smoothing: float,
        weights: Tensor | None,
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
            factors = None if weights is None else weights[rows].unsqueeze(1)
            logits = torch.mm(chunk, columns, out=block[: len(chunk)])
            loss -= on_target * _times(logits.gather(1, wanted), factors).sum()
            if label_smoothing:
                loss -= on_others * _times(logits, factors).sum()
            peak = logits.amax(dim=1, keepdim=True)
            probabilities = logits.sub_(peak).exp_()
            total = probabilities.sum(dim=1, keepdim=True)
            loss += _times(total.log() + peak, factors).sum()
            errors = probabilities.div_(total).sub_(on_others)
            errors.scatter_add_(1, wanted, -on_target * torch.ones_like(total))
            if factors is not None:
                errors.mul_(factors)
            torch.mm(errors, table, out=users_gradient[rows])
            table_gradient.addmm_(errors.T, chunk)
        ctx.save_for_backward(users_gradient.div_(len(users)), table_gradient.div_(len(users)))
        return loss / len(users)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        users_gradient, table_gradient = ctx.saved_tensors
        return users_gradient * gradients[0], table_gradient * gradients[0], None, None, None


class _SampledCrossEntropy(torch.autograd.Function):
    """Cross-entropy of each target against the negatives of its batch."""

    @staticmethod
    def forward(
        ctx: Any,
        users: Tensor,
        table: Tensor,
        targets: Tensor,
        negatives: Tensor,
        log_expected: Tensor,
        weights: Tensor | None,
    ) -> Tensor:
        wanted, others = table[targets], table[negatives]
        own = (users * wanted).sum(dim=1, keepdim=True)
        column_of = torch.full((len(table),), -1, device=table.device)
        column_of[negatives] = torch.arange(len(negatives), device=table.device)
        itself = column_of[targets]
        users_gradient, others_gradient = torch.empty_like(users), torch.zeros_like(others)
        own_errors = torch.empty_like(own)
        columns, offsets = others.T.contiguous(), -log_expected
        block = users.new_empty(min(_CHUNK_ROWS, len(users)), len(others))
        loss = users.new_zeros(())
        for start in range(0, len(users), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            chunk, logits = users[rows], block[: len(users[rows])]
            torch.addmm(offsets, chunk, columns, out=logits)
            drawn = (itself[rows] >= 0).nonzero().squeeze(1)
            logits[drawn, itself[rows][drawn]] = -torch.inf
            peak = torch.maximum(logits.amax(dim=1, keepdim=True), own[rows])
            probabilities = logits.sub_(peak).exp_()
            own_generator = (own[rows] - peak).exp_()
            total = probabilities.sum(dim=1, keepdim=True).add_(own_generator)
            factors = None if weights is None else weights[rows].unsqueeze(1)
            loss += _times(total.log() + peak - own[rows], factors).sum()
            errors = probabilities.div_(total)
            own_errors[rows] = _times(own_generator / total - 1.0, factors)
            if factors is not None:
                errors.mul_(factors)
            torch.mm(errors, others, out=users_gradient[rows])
            others_gradient.addmm_(errors.T, chunk)
        users_gradient.addcmul_(own_errors, wanted)
        table_gradient = torch.zeros_like(table).index_add_(0, targets, own_errors * users)
        table_gradient.index_add_(0, negatives, others_gradient)
        ctx.save_for_backward(users_gradient.div_(len(users)), table_gradient.div_(len(users)))
        return loss / len(users)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        users_gradient, table_gradient = ctx.saved_tensors
        return users_gradient * gradients[0], table_gradient * gradients[0], *[None] * 4


def _times(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Losses of positions, each times its weight; as they are where all are 1."""
    return losses if weights is None else losses * weights


def catalogue_cross_entropy(
    users: Tensor,
    table: Tensor,
    targets: Tensor,
    label_smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of each position's target against every item of the table.

    The value and the gradients of `F.cross_entropy(users @ table.T, targets)`.

    Args:
        users: float32 [P, D].
        table: float32 [C, D], the items that take part.
        targets: int64 [P], rows of `table`.
        label_smoothing: weight spread evenly over all C items.
        weights: factors on each position's loss, float32 [P]; None: all are 1.
    """
    loss: Tensor = _CatalogueCrossEntropy.apply(users, table, targets, label_smoothing, weights)  # type: ignore[no-untyped-call]
    return loss


def sampled_cross_entropy(
    users: Tensor,
    table: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_expected: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy over the target and negatives drawn once for the whole batch.

    A negative's logit is lowered by the log of its probability of being drawn (the logQ
    correction), so the sum over the sample estimates the sum over the catalogue; a negative that
    is the target itself is left out of that row.

    Args:
        users: float32 [P, D].
        table: float32 [C, D].
        targets: int64 [P], rows of `table`.
        negatives: int64 [S], different rows of `table`.
        log_expected: float32 [S], log of each negative's probability of being drawn.
        weights: factors on each position's loss, float32 [P]; None: all are 1.
    """
    loss: Tensor = _SampledCrossEntropy.apply(  # type: ignore[no-untyped-call]
        users, table, targets, negatives, log_expected, weights
    )
    return loss


def generalised_binary_cross_entropy(
    users: Tensor,
    table: Tensor,
    targets: Tensor,
    negatives: Tensor,
    exponent: float,
    weights: Tensor | None = None,
) -> Tensor:
    """gBCE (Petrov and Macdonald, 2023, equation 10), its negatives shared by the batch.

    The target's probability is raised to an exponent below 1, so that it isn't pushed as far as
    few negatives would let it be; a negative that is the target itself is left out of that row.

    Args:
        users: float32 [P, D].
        table: float32 [C, D].
        targets: int64 [P], rows of `table`.
        negatives: int64 [S], different rows of `table`, drawn evenly.
        exponent: beta, see `gbce_exponent`.
        weights: factors on each position's loss, float32 [P]; None: all are 1.
    """
    wanted = F.logsigmoid((users * table[targets]).sum(dim=1))
    unwanted = F.softplus(users @ table[negatives].T)
    unwanted = unwanted.masked_fill(negatives[None, :] == targets[:, None], 0.0)
    loss: Tensor = unwanted.sum(dim=1) - exponent * wanted
    return _times(loss, weights).mean() / (len(negatives) + 1)


def gbce_exponent(n_negatives: int, n_items: int, calibration: float) -> float:
    """beta = a (t (1 - 1/a) + 1/a), where a is the share of the other items that is sampled."""
    share = n_negatives / (n_items - 1)
    return share * (calibration * (1 - 1 / share) + 1 / share)


def binary_cross_entropy(
    users: Tensor,
    table: Tensor,
    targets: Tensor,
    negatives: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """SASRec's own loss, with one negative for each position; a baseline.

    Args:
        users: float32 [P, D].
        table: float32 [C, D].
        targets: int64 [P], rows of `table`.
        negatives: int64 [P], rows of `table`, none of them its position's target.
        weights: factors on each position's loss, float32 [P]; None: all are 1.
    """
    wanted = F.logsigmoid((users * table[targets]).sum(dim=1))
    unwanted = F.logsigmoid(-(users * table[negatives]).sum(dim=1))
    return -_times(wanted + unwanted, weights).mean()
