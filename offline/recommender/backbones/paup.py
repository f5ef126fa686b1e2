"""PAUP: attention to segments of the history, each computed by a convolution."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offline.recommender.backbone import CausalBackbone
from offline.recommender.backbones.attention import causal_attention
from offline.recommender.backbones.rotation import turn, turns_from_end
from offline.recommender.backbones.serving_layer import Positions, serve_attention
from offline.recommender.backbones.transformer import Block
from offline.recommender.config import PaupConfig
from offline.recommender.dropout import ByteDropout


class Paup(CausalBackbone):
    """Progressive self-attention (Zhu et al., 2022), made causal.

    The paper cuts the history into segments, once for each target, and has items attend to
    segments. Here each position counts its segments back from itself: the last `segment` items,
    the ones before them, and so on; so all positions are trained in one pass. Positions are
    rotations as in `Sasrec` in place of the paper's unsymmetrical encoding.
    """

    def __init__(self, config: PaupConfig) -> None:
        super().__init__()
        self.scale = config.embedding_size**0.5
        self.head_size = config.embedding_size // config.heads
        self.max_length, self.segment = config.max_length, config.segment
        self.dropout = ByteDropout(config.dropout)
        self.layers = nn.ModuleList(SegmentLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.embedding_size)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        del present  # positions before an item are never padding
        states = self.dropout(items * self.scale)
        turns = turns_from_end(items.shape[1], self.head_size, items.device)
        for layer in self.layers:
            states = layer(states, turns)
        return self.norm(states)  # type: ignore[no-any-return]

    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last`: all positions see all keys, those of other segments masked."""
        steps = torch.arange(items.shape[1], device=items.device)
        counted = (steps[:, None] - steps[None, :]) % self.segment == 0
        positions = Positions.of(present, self.max_length, self.head_size, True, counted)
        states = items * self.scale
        for layer in self.layers:
            states = cast(SegmentLayer, layer).serve(states, present, positions)
        return self.norm(states[:, -1])  # type: ignore[no-any-return]


class SegmentLayer(Block):
    """Attention of items to segments."""

    def __init__(self, config: PaupConfig) -> None:
        super().__init__(config)
        size = config.embedding_size
        self.segment = config.segment
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        # Weight of each of a segment's items, oldest → newest; equal at the start.
        self.mixture = nn.Parameter(torch.full((size, 1, config.segment), 1.0 / config.segment))

    def forward(self, states: Tensor, turns: Tensor) -> Tensor:
        """New states float32 [B, L, D]; `turns` of the L positions."""
        normed = self.attention_norm(states)
        segments = self._segments(normed)
        query, key = turn(self.query(normed), turns), turn(self.key(segments), turns)
        parts = (self._by_remainder(part) for part in (query, key, self.value(segments)))
        attended = causal_attention(*parts).permute(0, 3, 2, 1, 4)  # [B, L / segment, segment, …]
        attended = attended.reshape(len(states), -1, states.shape[-1])[:, : states.shape[1]]
        return self.finish(states, attended)

    def serve(self, states: Tensor, present: Tensor, positions: Positions) -> Tensor:
        """The same, padding on the left."""
        normed = self.attention_norm(states)
        segments = self._segments(normed * present.unsqueeze(-1))
        query, key, value = self.query(normed), self.key(segments), self.value(segments)
        return self.finish(states, serve_attention(self.heads, query, key, value, positions))

    def _segments(self, normed: Tensor) -> Tensor:
        """The segment that ends at each position, [B, L, D]."""
        before = F.pad(normed.transpose(1, 2), (self.segment - 1, 0))
        return F.conv1d(before, self.mixture, groups=normed.shape[-1]).transpose(1, 2)

    def _by_remainder(self, states: Tensor) -> Tensor:
        """Positions whose segments are the same apart: [B, H, segment, L / segment, head size].

        Position i sees segments that end at i, i - segment, i - 2 segment …
        """
        batch, length, size = states.shape
        padded = F.pad(states, (0, 0, 0, -length % self.segment))
        shape = (batch, -1, self.segment, self.heads, size // self.heads)
        return padded.reshape(shape).permute(0, 3, 2, 1, 4)
