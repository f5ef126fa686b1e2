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

from offline.recommender.config import SasrecConfig
from offline.recommender.dropout import ByteDropout
from offline.recommender.rotation import Turns, turn
from offline.recommender.serving_layer import Positions, serve_layer

# Large enough to silence a position, small enough that a row of nothing else stays finite.
_SILENCED = -1e9


class Backbone(nn.Module, ABC):
    """Turns item vectors into user vectors."""

    @abstractmethod
    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """What comes next at each position, from it and those before it alone.

        Args:
            items: float32 [B, L, D], oldest → newest, padding on the left.
            present: bool [B, L], False at padding.

        Returns:
            float32 [B, L, D]; finite, but without meaning, at padding.
        """

    @abstractmethod
    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """`forward` at the last position only, float32 [B, D]: the user's vector.

        This is what is exported and served, so an architecture may compute it in its own, cheaper
        way; L is at most the configured max_length. The export is refused where the two differ.
        """


def attention_bias(present: Tensor) -> Tensor:
    """Causal and padding mask as float32 [B, 1, L, L], to be added to attention scores."""
    length = present.shape[1]
    steps = torch.arange(length, device=present.device)
    allowed = (steps[:, None] >= steps[None, :]) & present[:, None, None, :]
    return torch.where(allowed, 0.0, _SILENCED)


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and feed-forward. No dropout on attention: it triples CPU time."""

    def __init__(self, size: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(size)
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.attention_out = nn.Linear(size, size)
        self.feedforward_norm = nn.LayerNorm(size)
        self.feedforward_in = nn.Linear(size, hidden)
        self.feedforward_out = nn.Linear(hidden, size)
        self.dropout = ByteDropout(dropout)

    def forward(self, states: Tensor, bias: Tensor, turns: Turns, queries: int) -> Tensor:
        """New states of the last `queries` positions, float32 [B, queries, D].

        Args:
            states: float32 [B, L, D].
            bias: float32 [B, 1, queries, L], added to attention scores.
            turns: of the L positions.
            queries: 1 to L; with 1 the cost per layer is linear in L.
        """
        normed = self.attention_norm(states)
        query = self._by_head(self.query(normed[:, -queries:]))
        key, value = self.key_value(normed).chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(
            turn(query, turns.of_last(queries)),
            turn(self._by_head(key), turns),
            self._by_head(value),
            attn_mask=bias,
        )
        joined = attended.transpose(1, 2).flatten(2)
        states = states[:, -queries:] + self.dropout(self.attention_out(joined))
        hidden = self.dropout(F.relu(self.feedforward_in(self.feedforward_norm(states))))
        new_states: Tensor = states + self.dropout(self.feedforward_out(hidden))
        return new_states

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
        states, bias, turns = self._start(items, present)
        for layer in self.layers:
            states = layer(states, bias, turns, states.shape[1])
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
        turns = Turns.of_length(self.max_length, self.head_size, present.device)
        steps = torch.arange(length, device=present.device)
        return Positions(
            turns.cosines.flip(0),
            turns.sines.flip(0),
            (length - 1 - steps).expand(batch, length),
            attention_bias(present),
        )

    def _start(self, items: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Turns]:
        states = self.dropout(items * self.scale)
        turns = Turns.of_length(items.shape[1], self.head_size, items.device)
        return states, attention_bias(present), turns
