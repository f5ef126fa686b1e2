"""Sequence networks: item vectors in, a vector of what comes next out.

A backbone knows nothing of ids, tables, losses or knowledge; a further architecture is one more
subclass of `Backbone`, trained and exported by the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offline.recommender.attention import causal_attention
from offline.recommender.config import SasrecConfig
from offline.recommender.dropout import ByteDropout
from offline.recommender.rotation import turn, turns_from_end
from offline.recommender.serving_layer import Positions, serve_layer

# Large enough to silence a position, small enough that a row of nothing else stays finite.
_SILENCED = -1e9


class Backbone(nn.Module, ABC):
    """Turns item vectors into user vectors."""

    @abstractmethod
    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """What comes next at each position, from it and those before it alone: what is trained.

        Args:
            items: float32 [B, L, D], oldest → newest, padding on the right.
            present: bool [B, L], False at padding.

        Returns:
            float32 [B, L, D]; finite, but without meaning, at padding.
        """

    @abstractmethod
    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """`forward` at the last item only, float32 [B, D]: the user's vector.

        Here padding is on the left, so that the last item is in the last place. This is what is
        exported and served, so an architecture may compute it in its own, cheaper way; L is at
        most the configured max_length. The export is refused where the two differ.
        """


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and feed-forward. No dropout on attention: it triples CPU time."""

    def __init__(self, size: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(size)
        self.query_key = nn.Linear(size, 2 * size)
        self.value = nn.Linear(size, size)
        self.attention_out = nn.Linear(size, size)
        self.feedforward_norm = nn.LayerNorm(size)
        self.feedforward_in = nn.Linear(size, hidden)
        self.feedforward_out = nn.Linear(hidden, size)
        self.dropout = ByteDropout(dropout)

    def forward(self, states: Tensor, turns: Tensor) -> Tensor:
        """New states float32 [B, L, D], each from itself and those before it.

        Args:
            states: float32 [B, L, D].
            turns: of the L positions, complex64 [L, head size / 2].
        """
        normed = self.attention_norm(states)
        query, key = turn(self.query_key(normed), turns).chunk(2, dim=-1)
        heads = (self._by_head(part) for part in (query, key, self.value(normed)))
        joined = causal_attention(*heads).transpose(1, 2).flatten(2)
        states = self.dropout.added(states, self.attention_out(joined))
        hidden = self.dropout(F.relu(self.feedforward_in(self.feedforward_norm(states))))
        return self.dropout.added(states, self.feedforward_out(hidden))

    def _by_head(self, states: Tensor) -> Tensor:
        return states.reshape(*states.shape[:2], self.heads, -1).transpose(1, 2)


class Sasrec(Backbone):
    """Self-attentive sequential recommendation (Kang and McAuley, 2018), pre-norm.

    Positions enter as rotations of queries and keys (RoFormer, equation 16), so attention sees
    how far back an item is and nothing else: what is learned anywhere in a sequence holds at its
    end, where requests are answered. Learned absolute positions, as in the paper, lose a tenth of
    NDCG@10 on MovieLens-100K. Neither padding on the left nor the block's length changes a result.
    """

    def __init__(self, config: SasrecConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.scale = size**0.5
        self.head_size = size // config.heads
        self.max_length = config.max_length
        self.dropout = ByteDropout(config.dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(size, config.heads, size * config.feedforward_factor, config.dropout)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(size)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        del present  # what is before an item is never padding
        states = self.dropout(items * self.scale)
        turns = turns_from_end(items.shape[1], self.head_size, items.device)
        for layer in self.layers:
            states = layer(states, turns)
        return self.norm(states)  # type: ignore[no-any-return]

    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last`; the last layer computes a single query, without dropout."""
        positions = self._positions(present)
        states = (items * self.scale).reshape(-1, items.shape[-1])
        for number, layer in enumerate(self.layers, start=1):
            last_only = number == len(self.layers)
            states = serve_layer(cast(TransformerLayer, layer), states, positions, last_only)
        return self.norm(states)  # type: ignore[no-any-return]

    def _positions(self, present: Tensor) -> Positions:
        batch, length = present.shape
        # Constants of the graph, of which a request takes as much as it is long.
        turns = turns_from_end(self.max_length, self.head_size, present.device).flip(0)
        steps = torch.arange(length, device=present.device)
        return Positions(
            turns.real.contiguous(),
            turns.imag.contiguous(),
            (length - 1 - steps).expand(batch, length),
            attention_bias(present),
        )


def attention_bias(present: Tensor) -> Tensor:
    """Causal and padding mask as float32 [B, 1, L, L], to be added to attention scores."""
    length = present.shape[1]
    steps = torch.arange(length, device=present.device)
    allowed = (steps[:, None] >= steps[None, :]) & present[:, None, None, :]
    return torch.where(allowed, 0.0, _SILENCED)
