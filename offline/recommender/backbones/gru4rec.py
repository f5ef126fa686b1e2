"""GRU4Rec: a recurrent network."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from offline.recommender.backbone import CausalBackbone
from offline.recommender.config import Gru4recConfig
from offline.recommender.dropout import ByteDropout

# Closes a gate of a GRU: its sigmoid is exactly 1 in float32.
_CLOSED_GATE = 1e4


class Gru4rec(CausalBackbone):
    """Session-based recommendation with recurrent networks (Hidasi et al., 2016).

    The loss is the training's choice, not the ranking losses of the paper.
    """

    def __init__(self, config: Gru4recConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.scale = size**0.5
        self.dropout = ByteDropout(config.dropout)
        sizes = [size] + [config.hidden_size] * config.layers
        self.layers = nn.ModuleList(
            nn.GRU(inner, outer, batch_first=True) for inner, outer in pairwise(sizes)
        )
        self.out = nn.Linear(config.hidden_size, size)
        self.norm = nn.LayerNorm(size)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        del present  # positions before an item are never padding
        states = self.dropout(items * self.scale)
        for layer in self.layers:
            states = self.dropout(layer(states)[0])
        return self.norm(self.out(states))  # type: ignore[no-any-return]

    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last`: a further input, 1 at padding, keeps the state as it was."""
        states, padding = items * self.scale, (~present).unsqueeze(-1).to(items.dtype)
        for layer in self.layers:
            from_items, from_state, items_bias, state_bias = layer.parameters()
            hidden = from_state.shape[1]
            closed = torch.zeros(3 * hidden, 1, device=items.device)
            closed[hidden : 2 * hidden] = _CLOSED_GATE  # the gates' order is reset, update, new
            weights = [torch.cat([from_items, closed], dim=1), from_state, items_bias, state_bias]
            start = states.new_zeros(1, states.shape[0], hidden)
            states = torch.gru(
                torch.cat([states, padding], dim=-1),
                start,
                weights,
                True,  # with biases
                1,
                0.0,
                False,
                False,
                True,  # batch first
            )[0]
        return self.norm(self.out(states[:, -1]))  # type: ignore[no-any-return]
