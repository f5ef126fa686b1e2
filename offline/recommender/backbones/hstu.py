"""HSTU: attention whose weights need not add up to one, and a gate instead of a feed-forward."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offline.recommender.backbone import CausalBackbone
from offline.recommender.backbones.attention import blocks_of
from offline.recommender.config import HstuConfig
from offline.recommender.dropout import ByteDropout

# A score of this or less has weight 0: its SiLU is exactly 0 in float32.
_MASKED = -1e4


class Hstu(CausalBackbone):
    """Hierarchical sequential transduction unit (Zhai et al., 2024, section 3).

    The attention bias has its part by distance only, since a request's history has no timestamps.
    Stochastic length is left out, and the loss is the training's choice.
    """

    def __init__(self, config: HstuConfig) -> None:
        super().__init__()
        self.scale = config.embedding_size**0.5
        self.dropout = ByteDropout(config.dropout)
        self.layers = nn.ModuleList(TransductionLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.embedding_size)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        del present  # positions before an item are never padding
        states = self.dropout(items * self.scale)
        for layer in self.layers:
            states = layer(states)
        return self.norm(states)  # type: ignore[no-any-return]

    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last`; the last layer computes a single query, without dropout."""
        masked = torch.where(present, 0.0, _MASKED)[:, None, None, :]
        states = items * self.scale
        for number, layer in enumerate(self.layers, start=1):
            last_only = number == len(self.layers)
            states = cast(TransductionLayer, layer).serve(states, masked, last_only)
        return self.norm(states[:, -1])  # type: ignore[no-any-return]


class TransductionLayer(nn.Module):
    """Pointwise attention and its gate (equations 1 to 3)."""

    def __init__(self, config: HstuConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.heads = config.heads
        self.longest = config.max_length
        self.norm = nn.LayerNorm(size)
        self.gate_value_query_key = nn.Linear(size, 4 * size)
        self.by_distance = nn.Parameter(torch.empty(config.heads, config.max_length))
        self.attended_norm = nn.LayerNorm(size)
        self.out = nn.Linear(size, size)
        self.dropout = ByteDropout(config.dropout)
        nn.init.normal_(self.gate_value_query_key.weight, std=0.02)
        nn.init.zeros_(self.gate_value_query_key.bias)
        nn.init.normal_(self.by_distance, std=0.02)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, states: Tensor) -> Tensor:
        """New states float32 [B, L, D], from states of the same shape.

        In blocks of queries, each over no more keys than it may see.
        """
        gate, value, query, key = self._parts(states)
        bias = self._bias(states.shape[1])
        attended = torch.cat(
            [
                F.silu(query[:, :, start:end] @ key[:, :, :end].mT + bias[:, start:end, :end])
                @ value[:, :, :end]
                for start, end in blocks_of(states.shape[1])
            ],
            dim=2,
        )
        return states + self.out(self.dropout(self._gated(gate, attended)))  # type: ignore[no-any-return]

    def serve(self, states: Tensor, masked: Tensor, last_only: bool) -> Tensor:
        """The same where padding is on the left: float32 [B, L, D], or [B, 1, D] of the last alone.

        Args:
            states: float32 [B, L, D].
            masked: float32 [B, 1, 1, L], added to attention scores.
            last_only: compute the last position only; cost is then linear in L.
        """
        length = states.shape[1]
        gate, value, query, key = self._parts(states)
        # A constant of the graph, cut to the length of the request.
        bias = self._bias(self.longest)[:, -length:, -length:]
        if last_only:
            gate, states = gate[:, -1:], states[:, -1:]
            query, bias = query[:, :, -1:], bias[:, -1:]
        attended = F.silu(query @ key.mT + (bias + masked)) @ value
        return states + self.out(self._gated(gate, attended))  # type: ignore[no-any-return]

    def _parts(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gate [B, L, D], and values, queries and keys [B, H, L, head size]."""
        gate, *others = F.silu(self.gate_value_query_key(self.norm(states))).chunk(4, dim=-1)
        shape = (*states.shape[:2], self.heads, -1)
        value, query, key = (part.reshape(shape).transpose(1, 2) for part in others)
        return gate, value, query, key

    def _bias(self, length: int) -> Tensor:
        """Of each query (row) to each key, float32 [H, L, L]: by distance, masked ahead."""
        steps = torch.arange(length, device=self.by_distance.device)
        distance = steps[:, None] - steps[None, :]
        bias = self.by_distance[:, distance.clamp(min=0)]
        return torch.where(distance >= 0, bias, _MASKED)

    def _gated(self, gate: Tensor, attended: Tensor) -> Tensor:
        """[B, L, D] from attended [B, H, L, head size], divided by the maximum number of items."""
        joined = attended.transpose(1, 2).flatten(2) / self.longest
        gated: Tensor = self.attended_norm(joined) * gate
        return gated
