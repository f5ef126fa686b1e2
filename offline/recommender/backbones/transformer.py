"""Parts that the transformers share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from offline.recommender.backbones.attention import causal_attention
from offline.recommender.backbones.rotation import turn
from offline.recommender.config import TransformerConfig
from offline.recommender.dropout import ByteDropout

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values float32 [B, H, L, head size] → attended values of the same shape."""


class Block(nn.Module):
    """A pre-norm layer after its attention; subclasses choose the attention."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        size, hidden = config.embedding_size, config.embedding_size * config.feedforward_factor
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(size)
        self.attention_out = nn.Linear(size, size)
        self.feedforward_norm = nn.LayerNorm(size)
        self.feedforward_in = nn.Linear(size, hidden)
        self.feedforward_out = nn.Linear(hidden, size)
        self.dropout = ByteDropout(config.dropout)

    def finish(self, states: Tensor, attended: Tensor) -> Tensor:
        """New states float32 [B, L, D] from old ones and what they attended to."""
        states = self.dropout.added(states, self.attention_out(attended))
        hidden = self.dropout(F.relu(self.feedforward_in(self.feedforward_norm(states))))
        return self.dropout.added(states, self.feedforward_out(hidden))

    def by_head(self, states: Tensor) -> Tensor:
        """[B, L, D] as [B, H, L, head size]."""
        return states.reshape(*states.shape[:2], self.heads, -1).transpose(1, 2)


class TransformerLayer(Block):
    """Self-attention and feed-forward. No dropout on attention: it triples CPU time."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        size = config.embedding_size
        self.query_key = nn.Linear(size, 2 * size)
        self.value = nn.Linear(size, size)

    def forward(self, states: Tensor, turns: Tensor, attend: Attend = causal_attention) -> Tensor:
        """New states float32 [B, L, D].

        Args:
            states: float32 [B, L, D].
            turns: of the L positions, complex64 [L, head size / 2].
            attend: the attention; by default each position sees itself and those before it.
        """
        normed = self.attention_norm(states)
        query, key = turn(self.query_key(normed), turns).chunk(2, dim=-1)
        parts = (self.by_head(part) for part in (query, key, self.value(normed)))
        return self.finish(states, attend(*parts).transpose(1, 2).flatten(2))
