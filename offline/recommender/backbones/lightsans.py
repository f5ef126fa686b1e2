"""LightSANs: attention to a few interests instead of to every item."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from offline.recommender.backbone import CausalBackbone
from offline.recommender.backbones.serving_layer import MASKED
from offline.recommender.backbones.transformer import Block
from offline.recommender.config import LightsansConfig
from offline.recommender.dropout import ByteDropout

# Keeps sums of exponentials within the precision of float32.
_MAX_WEIGHT = 10.0


class Lightsans(CausalBackbone):
    """Low-rank decomposed self-attention (Fan et al., 2021), made causal.

    The paper pools the whole history into interests, once for each target. Here the interests of a
    position are pooled from the items up to it, as running sums, so that all positions are
    trained in one pass.
    """

    def __init__(self, config: LightsansConfig) -> None:
        super().__init__()
        self.scale = config.embedding_size**0.5
        self.dropout = ByteDropout(config.dropout)
        self.layers = nn.ModuleList(InterestLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.embedding_size)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        states = self.dropout(items * self.scale)
        for layer in self.layers:
            states = layer(states, present)
        return self.norm(states)  # type: ignore[no-any-return]

    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last`; the result is the same with padding on either side."""
        users: Tensor = self(items, present)[:, -1]
        return users


class InterestLayer(Block):
    """Item-to-interest attention plus attention by distance alone (section 2.2)."""

    def __init__(self, config: LightsansConfig) -> None:
        super().__init__(config)
        size = config.embedding_size
        self.interest = nn.Linear(size, config.interests)
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.by_distance = nn.Parameter(torch.zeros(config.heads, config.max_length))

    def forward(self, states: Tensor, present: Tensor) -> Tensor:
        """New states float32 [B, L, D], from states and present bool [B, L]."""
        normed = self.attention_norm(states)
        key_value = self.key_value(normed)
        attended = self._to_interests(normed, key_value, present)
        value = self.by_head(key_value.chunk(2, dim=-1)[1])
        recent = torch.matmul(self._shares(present), value).transpose(1, 2).flatten(2)
        return self.finish(states, attended + recent)

    def _to_interests(self, normed: Tensor, key_value: Tensor, present: Tensor) -> Tensor:
        batch, length, size = normed.shape
        # Long sums of bfloat16 would stop growing.
        weights = self.interest(normed).float().clamp(-_MAX_WEIGHT, _MAX_WEIGHT).exp()
        weights = weights * present.unsqueeze(-1)
        pooled = (weights.unsqueeze(-1) * key_value.unsqueeze(2)).cumsum(dim=1)
        # Before the first item the sum is 0, and so is the pooled vector.
        pooled = pooled / weights.cumsum(dim=1).clamp(min=1e-9).unsqueeze(-1)
        heads = (batch, length, -1, self.heads, size // self.heads)
        key, value = (part.reshape(heads) for part in pooled.chunk(2, dim=-1))
        query = self.query(normed).reshape(batch, length, 1, self.heads, -1)
        scores = (query * key).sum(dim=-1) * (size // self.heads) ** -0.5
        attended: Tensor = (scores.softmax(dim=2).unsqueeze(-1) * value).sum(dim=2)
        return attended.reshape(batch, length, size)

    def _shares(self, present: Tensor) -> Tensor:
        """How much of each item goes into each position, by distance: [B, H, L, L]."""
        steps = torch.arange(present.shape[1], device=present.device)
        distance = steps[:, None] - steps[None, :]
        allowed = (distance >= 0) & present[:, None, None, :]
        scores = self.by_distance[:, distance.clamp(min=0)]
        shares: Tensor = torch.where(allowed, scores, MASKED).softmax(dim=-1)
        return shares
