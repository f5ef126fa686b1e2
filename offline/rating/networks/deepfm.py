"""DeepFM (Guo et al., 2017): a factorisation machine beside a perceptron on the same embeddings."""

from __future__ import annotations

from torch import Tensor, nn

from offline.rating.config import DeepFmConfig
from offline.rating.networks.perceptron import Perceptron


def pairwise_products(fields: Tensor) -> Tensor:
    """Sum over all pairs of fields of their elementwise product: [B, F, D] to [B, D].

    Half of the squared sum without the squares (Rendle, 2010, lemma 3.1): F steps for F² pairs.
    """
    sums: Tensor = fields.sum(dim=1)
    return (sums * sums - (fields * fields).sum(dim=1)) / 2


class DeepFm(nn.Module):
    """Equations 1 to 4 of the paper, without the first-order part, which every network here has."""

    def __init__(self, n_fields: int, config: DeepFmConfig) -> None:
        super().__init__()
        self.deep = Perceptron(n_fields * config.embedding_size, config.hidden, config.dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """[B, F, D] to [B]."""
        deep: Tensor = self.deep(fields.flatten(1))
        return pairwise_products(fields).sum(dim=-1) + deep
