"""A transformer layer for serving: few operators, each with a fused kernel.

The cost of a request is mostly the number of operators and not their arithmetic: one request is
some 50 positions of 64 numbers. So the positions of a batch are one flat list, where a linear
layer with its bias is one operator, and attention and rotation are ONNX's own operators (opset
23) instead of twenty smaller ones. The result is that of `TransformerLayer.forward`; the export
fails where the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from offline.recommender.backbones.rotation import turns_from_end

if TYPE_CHECKING:
    from offline.recommender.backbones.transformer import TransformerLayer

# Large enough to mask a position, small enough that a row of masked positions stays finite.
MASKED = -1e9


@dataclass(frozen=True)
class Positions:
    """Positions of the items of a batch, B sequences of L.

    Attributes:
        cosines, sines: float32 [max_length, head size / 2], by position counted from the end.
        from_end: int64 [B, L], position of each item; the last item's is 0.
        bias: float32 [B, 1, L, L], added to attention scores.
    """

    cosines: Tensor
    sines: Tensor
    from_end: Tensor
    bias: Tensor

    @classmethod
    def of(
        cls,
        present: Tensor,
        max_length: int,
        head_size: int,
        causal: bool,
        counted: Tensor | None = None,
    ) -> Positions:
        """Of items that are padded on the left.

        Args:
            present: bool [B, L], False at padding.
            max_length: L at most.
            head_size: of the attention.
            causal: positions don't see later ones.
            counted: bool [L, L], which keys (columns) a position sees at all; None: every one.
        """
        batch, length = present.shape
        # Constants of the graph, cut to the length of the request.
        turns = turns_from_end(max_length, head_size, present.device).flip(0)
        steps = torch.arange(length, device=present.device)
        allowed = present[:, None, None, :].expand(batch, 1, length, length)
        if causal:
            allowed = (steps[:, None] >= steps[None, :]) & allowed
        if counted is not None:
            allowed = counted & allowed
        return cls(
            turns.real.contiguous(),
            turns.imag.contiguous(),
            (length - 1 - steps).expand(batch, length),
            torch.where(allowed, 0.0, MASKED),
        )

    def of_last(self) -> Positions:
        """The positions with the last item as the only query."""
        return Positions(self.cosines, self.sines, self.from_end[:, -1:], self.bias[:, :, -1:])


def serve_layer(
    layer: TransformerLayer, states: Tensor, positions: Positions, last_only: bool
) -> Tensor:
    """New states, float32 [B * L, D], or [B, D] of the last positions alone.

    Args:
        layer: in evaluation mode, as dropout is left out.
        states: float32 [B * L, D].
        positions: of the B x L items.
        last_only: compute the last position of each sequence only; cost is then linear in L.
    """
    shape = positions.from_end.shape
    asking = positions
    normed = layer.attention_norm(states)
    key = _turn(layer.heads, _linear(normed, layer.query_key, 1), positions)
    value = layer.value(normed).reshape(*shape, -1)
    if last_only:
        asking = positions.of_last()
        normed, states = (part.reshape(*shape, -1)[:, -1] for part in (normed, states))
    query = _turn(layer.heads, _linear(normed, layer.query_key, 0), asking)
    attended = _attend(layer.heads, query, key, value, asking)
    states = states + layer.attention_out(attended.reshape(-1, attended.shape[-1]))
    hidden = F.relu(layer.feedforward_in(layer.feedforward_norm(states)))
    new_states: Tensor = states + layer.feedforward_out(hidden)
    return new_states


def serve_attention(
    heads: int, query: Tensor, key: Tensor, value: Tensor, positions: Positions
) -> Tensor:
    """Attention float32 [B, L, D] of every position, queries and keys not yet rotated."""
    query, key = (_turn(heads, part, positions) for part in (query, key))
    return _attend(heads, query, key, value, positions)


def _attend(heads: int, query: Tensor, key: Tensor, value: Tensor, asking: Positions) -> Tensor:
    return torch.onnx.ops.attention(
        query, key, value, asking.bias, q_num_heads=heads, kv_num_heads=heads
    )[0]


def _linear(states: Tensor, layer: torch.nn.Linear, part: int) -> Tensor:
    """One half of a layer with two outputs; two products are faster than one and a split."""
    size = layer.in_features
    rows = slice(part * size, (part + 1) * size)
    return F.linear(states, layer.weight[rows], layer.bias[rows])


def _turn(heads: int, vectors: Tensor, positions: Positions) -> Tensor:
    """Queries or keys float32 [B * L, D], rotated by their positions: [B, L, D]."""
    return torch.onnx.ops.rotary_embedding(
        vectors.reshape(*positions.from_end.shape, -1),
        positions.cosines,
        positions.sines,
        positions.from_end,
        num_heads=heads,
        interleaved=True,
    )
