"""Positions as rotations (RoFormer, section 3.2): a dot product sees only the distance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SLOWEST = 10_000.0  # positions until the slowest pair of dimensions has turned by one radian


@dataclass(frozen=True)
class Turns:
    """How far each position turns each pair of dimensions.

    Positions are counted from the end, the last item is position 0.

    Attributes:
        cosines, sines: float32 [L, head size / 2].
    """

    cosines: Tensor
    sines: Tensor

    @classmethod
    def of_length(cls, length: int, head_size: int, device: torch.device) -> Turns:
        """For L positions of queries or keys of `head_size` dimensions."""
        from_end = torch.arange(length - 1, -1, -1, dtype=torch.float32, device=device)
        pairs = torch.arange(0, head_size, 2, dtype=torch.float32, device=device)
        angles = from_end[:, None] * _SLOWEST ** (-pairs / head_size)
        return cls(angles.cos(), angles.sin())

    def of_last(self, count: int) -> Turns:
        """For the last `count` positions alone."""
        return Turns(self.cosines[-count:], self.sines[-count:])


def turn(vectors: Tensor, turns: Turns) -> Tensor:
    """Queries or keys float32 [B, heads, L, head size], each turned by its position."""
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat(
        [
            first * turns.cosines - second * turns.sines,
            first * turns.sines + second * turns.cosines,
        ],
        dim=-1,
    )
