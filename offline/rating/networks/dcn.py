"""DCN (Wang et al., 2017): cross layers beside a perceptron."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from offline.rating.config import DcnConfig


class CrossLayer(nn.Module):
    """`x0 (x . w) + b + x` (equation 3): one degree more of products of the inputs."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Linear(size, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, first: Tensor, inputs: Tensor) -> Tensor:
        """The cross of the network's inputs and the layer's, both [B, S]: [B, S]."""
        crossed: Tensor = first * self.weight(inputs) + self.bias + inputs
        return crossed


class Dcn(nn.Module):
    """Cross and deep part side by side, and one linear map of both (equation 5)."""

    def __init__(self, n_fields: int, config: DcnConfig) -> None:
        super().__init__()
        size = n_fields * config.embedding_size
        self.crosses = nn.ModuleList(CrossLayer(size) for _ in range(config.cross_layers))
        layers: list[nn.Module] = []
        n_inputs = size
        for n_units in config.hidden:
            layers += [nn.Linear(n_inputs, n_units), nn.ReLU(), nn.Dropout(config.dropout)]
            n_inputs = n_units
        self.deep = nn.Sequential(*layers)
        self.last = nn.Linear(size + n_inputs, 1)

    def forward(self, fields: Tensor) -> Tensor:
        """[B, F, D] to [B]."""
        first = crossed = fields.flatten(1)
        for layer in self.crosses:
            crossed = layer(first, crossed)
        answer: Tensor = self.last(torch.cat([crossed, self.deep(first)], dim=-1)).squeeze(-1)
        return answer
