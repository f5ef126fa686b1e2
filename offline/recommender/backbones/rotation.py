"""Positions as rotations (RoFormer, section 3.2): a dot product sees only the distance."""

from __future__ import annotations

import torch
from torch import Tensor

_SLOWEST = (
    10_000.0  # positions after which the slowest pair of dimensions has rotated by one radian
)


def turns_from_end(length: int, head_size: int, device: torch.device) -> Tensor:
    """Rotation of each pair of dimensions at each position, complex64 [L, head size / 2].

    Positions are counted from the end, the last item is position 0.
    """
    from_end = torch.arange(length - 1, -1, -1, dtype=torch.float32, device=device)
    pairs = torch.arange(0, head_size, 2, dtype=torch.float32, device=device)
    angles = from_end[:, None] * _SLOWEST ** (-pairs / head_size)
    return torch.polar(torch.ones_like(angles), angles)


def turn(vectors: Tensor, turns: Tensor) -> Tensor:
    """Queries or keys, each rotated by its position.

    Dimensions 2i and 2i + 1 of a head are a complex number, so that a rotation is one product.

    Args:
        vectors: float32 or bfloat16 [B, L, H * head size], contiguous, of any number H of heads.
        turns: of the L positions.

    Returns:
        float32 of the same shape: bfloat16 has no complex numbers.
    """
    heads = vectors.shape[-1] // (2 * turns.shape[-1])
    pairs = torch.view_as_complex(vectors.float().reshape(*vectors.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns.repeat(1, heads)).flatten(-2)
