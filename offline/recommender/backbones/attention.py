"""Causal attention for training: every position sees itself and the positions before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# At least this many queries form a block; they see the keys up to the last of them.
_MIN_TOGETHER = 64


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each position over the values up to its own.

    On a CPU in blocks of queries, each over no more keys than it may see: a third of the fused
    kernel's time for ten items, three quarters for a hundred. These blocks are for float32; under
    autocast it is the fused kernel, as on a GPU.

    Args:
        query, key, value: float32 [B, H, L, head size]; further dimensions may stand before L.

    Returns:
        The same shape.
    """
    if query.is_cuda or torch.is_autocast_enabled(query.device.type):
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    shape = query.shape
    groups = (part.reshape(-1, *shape[-2:]) for part in (query, key, value))
    attended: Tensor = _CausalAttention.apply(*groups)  # type: ignore[no-untyped-call]
    return attended.view(shape)


class _CausalAttention(torch.autograd.Function):
    """Attention of G groups, [G, L, head size]."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        length, size = query.shape[1:]
        scale = size**-0.5
        forbidden = torch.full((length, length), -torch.inf, device=query.device).triu(1)
        attended = torch.empty_like(query)
        shares = []
        for start, end in blocks_of(length):
            scores = torch.bmm(query[:, start:end] * scale, key[:, :end].mT)
            scores[:, :, start:] += forbidden[start:end, start:end]
            shares.append(torch.softmax(scores, dim=-1, out=scores))
            attended[:, start:end] = torch.bmm(shares[-1], value[:, :end])
        ctx.save_for_backward(query, key, value, *shares)
        return attended

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, *shares = ctx.saved_tensors
        length, size = query.shape[1:]
        scale = size**-0.5
        of_query = torch.empty_like(query)
        # The last block first: it sees every key, so the others add to its gradients.
        # (baddbmm_ would go matrix by matrix: a slice of a tensor is not contiguous.)
        for (start, end), share in reversed([*zip(blocks_of(length), shares, strict=True)]):
            gradient = gradients[0][:, start:end]
            to_value = torch.bmm(share.mT, gradient)
            of_share = torch.bmm(gradient, value[:, :end].mT)
            of_scores = torch._softmax_backward_data(of_share, share, -1, share.dtype)
            of_query[:, start:end] = torch.bmm(of_scores, key[:, :end])
            to_key = torch.bmm(of_scores.mT, query[:, start:end])
            if end == length:
                of_key, of_value = to_key, to_value
            else:
                of_key[:, :end] += to_key
                of_value[:, :end] += to_value
        return of_query.mul_(scale), of_key.mul_(scale), of_value


def blocks_of(length: int) -> list[tuple[int, int]]:
    """Start and end of each block, of nearly one size."""
    count = max(1, length // _MIN_TOGETHER)
    return [(length * i // count, length * (i + 1) // count) for i in range(count)]
