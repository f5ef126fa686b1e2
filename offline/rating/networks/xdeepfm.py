"""xDeepFM (Lian et al., 2018): a compressed interaction network beside a perceptron."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from offline.rating.config import XDeepFmConfig
from offline.rating.networks.perceptron import Perceptron


class CompressedInteraction(nn.Module):
    """Feature maps of each layer, summed over the embedding (equations 6 and 7).

    Args:
        n_fields: F.
        maps: feature maps of each layer.
    """

    def __init__(self, n_fields: int, maps: tuple[int, ...]) -> None:
        super().__init__()
        sizes = (n_fields, *maps)
        self.weights = nn.ParameterList(
            torch.randn(n_maps, n_before, n_fields) * (n_before * n_fields) ** -0.5
            for n_before, n_maps in zip(sizes, maps, strict=False)
        )

    def forward(self, fields: Tensor) -> Tensor:
        """[B, F, D] to [B, maps of all layers]."""
        before, pooled = fields, []
        for weight in self.weights:
            n_maps = weight.shape[0]
            # Of two products of matrices, for the sum over h and j of weight[m, h, j] and the
            # elementwise product of before[h] and fields[j].
            mixed = (weight.reshape(-1, fields.shape[1]) @ fields).unflatten(1, (n_maps, -1))
            before = (mixed * before.unsqueeze(1)).sum(dim=2)
            pooled.append(before.sum(dim=-1))
        return torch.cat(pooled, dim=-1)


class XDeepFm(nn.Module):
    """Equation 9 of the paper, without the first-order part, which every network here has."""

    def __init__(self, n_fields: int, config: XDeepFmConfig) -> None:
        super().__init__()
        self.interaction = CompressedInteraction(n_fields, config.maps)
        self.explicit = nn.Linear(sum(config.maps), 1, bias=False)
        self.deep = Perceptron(n_fields * config.embedding_size, config.hidden, config.dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """[B, F, D] to [B]."""
        explicit: Tensor = self.explicit(self.interaction(fields)).squeeze(-1)
        deep: Tensor = self.deep(fields.flatten(1))
        return explicit + deep
