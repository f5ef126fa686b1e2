"""BERT4Rec: bidirectional self-attention, trained on items that are hidden from it."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offline.recommender.backbone import Backbone
from offline.recommender.backbones.rotation import turns_from_end
from offline.recommender.backbones.serving_layer import MASKED, Positions, serve_layer
from offline.recommender.backbones.transformer import TransformerLayer
from offline.recommender.config import Bert4recConfig
from offline.recommender.dropout import ByteDropout


class Bert4rec(Backbone):
    """BERT4Rec (Sun et al., 2019), pre-norm, its positions rotations as in `Sasrec`.

    `forward` predicts the item of each position; a hidden position holds `mask` in place of the
    item's vector. The next item is that of the position after the last one, so there are
    max_length + 1 positions.

    Attributes:
        mask: float32 [D], the vector of a hidden item.
    """

    def __init__(self, config: Bert4recConfig) -> None:
        super().__init__()
        self.scale = config.embedding_size**0.5
        self.head_size = config.embedding_size // config.heads
        self.max_length = config.max_length
        self.mask = nn.Parameter(torch.randn(config.embedding_size) * 0.02)
        self.dropout = ByteDropout(config.dropout)
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.embedding_size)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.forward`; not causal."""
        bias = torch.where(present[:, None, None, :], 0.0, MASKED)
        attend = partial(F.scaled_dot_product_attention, attn_mask=bias)
        states = self.dropout(items * self.scale)
        turns = turns_from_end(items.shape[1], self.head_size, items.device)
        for layer in self.layers:
            states = layer(states, turns, attend)
        return self.norm(states)  # type: ignore[no-any-return]

    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last`; the last layer computes the mask's query alone."""
        batch = items.shape[0]
        items = torch.cat([items, self.mask.expand(batch, 1, -1)], dim=1)
        there = torch.ones(batch, 1, dtype=torch.bool, device=items.device)
        present = torch.cat([present, there], dim=1)
        positions = Positions.of(present, self.max_length + 1, self.head_size, causal=False)
        states = (items * self.scale).reshape(-1, items.shape[-1])
        for number, layer in enumerate(self.layers, start=1):
            last_only = number == len(self.layers)
            states = serve_layer(cast(TransformerLayer, layer), states, positions, last_only)
        return self.norm(states)  # type: ignore[no-any-return]

    def last_as_trained(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last_as_trained`: `forward` at a mask after the last item."""
        rows, lengths = torch.arange(len(items), device=items.device), present.sum(dim=1)
        longer = F.pad(items, (0, 0, 0, 1))
        longer[rows, lengths] = self.mask
        there = F.pad(present, (0, 1))
        there[rows, lengths] = True
        users: Tensor = self(longer, there)[rows, lengths]
        return users
