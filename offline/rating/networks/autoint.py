"""AutoInt (Song et al., 2019): self-attention between the fields."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from offline.rating.config import AutoIntConfig


class FieldAttention(nn.Module):
    """One interacting layer: heads of attention and a residual map (equations 5 to 8).

    As in the paper, scores aren't divided by the root of their size.
    """

    def __init__(self, n_inputs: int, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.residual = (
            nn.Linear(n_inputs, size * heads, bias=False) for _ in range(4)
        )

    def forward(self, fields: Tensor) -> Tensor:
        """[B, F, n_inputs] to [B, F, size * heads]."""
        query, key, value = (
            projection(fields).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        attended = (query @ key.transpose(-1, -2)).softmax(dim=-1) @ value
        return torch.relu(attended.transpose(1, 2).flatten(2) + self.residual(fields))


class AutoInt(nn.Module):
    """Interacting layers and a linear map of all fields (equation 9)."""

    def __init__(self, n_fields: int, config: AutoIntConfig) -> None:
        super().__init__()
        width = config.attention_size * config.heads
        sizes = (config.embedding_size, *(width for _ in range(config.layers)))
        self.layers = nn.ModuleList(
            FieldAttention(n_inputs, config.attention_size, config.heads) for n_inputs in sizes[:-1]
        )
        self.dropout = nn.Dropout(config.dropout)
        self.last = nn.Linear(n_fields * width, 1)

    def forward(self, fields: Tensor) -> Tensor:
        """[B, F, D] to [B]."""
        for layer in self.layers:
            fields = self.dropout(layer(fields))
        answer: Tensor = self.last(fields.flatten(1)).squeeze(-1)
        return answer
