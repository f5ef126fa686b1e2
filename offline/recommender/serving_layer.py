"""A transformer layer as it is served: few operators, each with a fused kernel.

What a request costs is mostly the number of operators and not their arithmetic: one request is
some 50 positions of 64 numbers. So the positions of a batch lie in one flat list, where a linear
layer with its bias is one operator, and attention and rotation are ONNX's own operators
(opset 23), not the twenty that they are made of. What it computes is `TransformerLayer.forward`;
the export is refused where the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from offline.recommender.backbone import TransformerLayer


@dataclass(frozen=True)
class Positions:
    """Where the items of a batch stand, B sequences of L.

    Attributes:
        cosines, sines: float32 [max_length, head size / 2], by position counted from the end.
        from_end: int64 [B, L], position of each item; the last item's is 0.
        bias: float32 [B, 1, L, L], added to attention scores.
    """

    cosines: Tensor
    sines: Tensor
    from_end: Tensor
    bias: Tensor

    def of_last(self) -> Positions:
        """Of the last item alone, as the one that asks."""
        return Positions(self.cosines, self.sines, self.from_end[:, -1:], self.bias[:, :, -1:])


def serve_layer(
    layer: TransformerLayer, states: Tensor, positions: Positions, last_only: bool
) -> Tensor:
    """New states, float32 [B * L, D], or [B, D] of the last positions alone.

    Args:
        layer: in evaluation mode, as dropout is left out.
        states: float32 [B * L, D].
        positions: of the B x L items.
        last_only: ask for the last position of each sequence only; cost is then linear in L.
    """
    shape = positions.from_end.shape
    asking = positions
    normed = layer.attention_norm(states)
    key = _turn(layer, _linear(normed, layer.query_key, 1), positions)
    value = layer.value(normed).reshape(*shape, -1)
    if last_only:
        asking = positions.of_last()
        normed, states = (part.reshape(*shape, -1)[:, -1] for part in (normed, states))
    query = _turn(layer, _linear(normed, layer.query_key, 0), asking)
    attended = torch.onnx.ops.attention(
        query, key, value, asking.bias, q_num_heads=layer.heads, kv_num_heads=layer.heads
    )[0]
    states = states + layer.attention_out(attended.reshape(-1, attended.shape[-1]))
    hidden = F.relu(layer.feedforward_in(layer.feedforward_norm(states)))
    new_states: Tensor = states + layer.feedforward_out(hidden)
    return new_states


def _linear(states: Tensor, layer: torch.nn.Linear, part: int) -> Tensor:
    """One half of a layer that makes two things; two products beat one and a split."""
    size = layer.in_features
    rows = slice(part * size, (part + 1) * size)
    return F.linear(states, layer.weight[rows], layer.bias[rows])


def _turn(layer: TransformerLayer, vectors: Tensor, positions: Positions) -> Tensor:
    """Queries or keys float32 [B * L, D], turned by their positions: [B, L, D]."""
    return torch.onnx.ops.rotary_embedding(
        vectors.reshape(*positions.from_end.shape, -1),
        positions.cosines,
        positions.sines,
        positions.from_end,
        num_heads=layer.heads,
        interleaved=True,
    )
