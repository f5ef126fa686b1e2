"""NFM (He and Chua, 2017): a perceptron over the bi-interaction of all fields."""

from __future__ import annotations

from torch import Tensor, nn

from offline.rating.config import NfmConfig
from offline.rating.networks.deepfm import pairwise_products
from offline.rating.networks.perceptron import Perceptron


class Nfm(nn.Module):
    """Equations 3 to 5 of the paper; the bi-interaction layer has dropout too (section 3.3)."""

    def __init__(self, n_fields: int, config: NfmConfig) -> None:  # noqa: ARG002
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.deep = Perceptron(config.embedding_size, config.hidden, config.dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """[B, F, D] to [B]."""
        answer: Tensor = self.deep(self.dropout(pairwise_products(fields)))
        return answer
