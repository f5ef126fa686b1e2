"""AFM (Xiao et al., 2017): a factorisation machine whose pairs are weighed by attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from offline.rating.config import AfmConfig


class Afm(nn.Module):
    """Equations 4 to 6 of the paper; dropout on the pooled pairs (section 3.3)."""

    def __init__(self, n_fields: int, config: AfmConfig) -> None:
        super().__init__()
        first, second = torch.triu_indices(n_fields, n_fields, offset=1).tolist()
        self.first, self.second = first, second
        self.attention = nn.Linear(config.embedding_size, config.attention_size)
        self.query = nn.Linear(config.attention_size, 1, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.last = nn.Linear(config.embedding_size, 1, bias=False)

    def forward(self, fields: Tensor) -> Tensor:
        """[B, F, D] to [B]."""
        pairs = fields[:, self.first] * fields[:, self.second]
        weights = self.query(torch.relu(self.attention(pairs))).softmax(dim=1)
        answer: Tensor = self.last(self.dropout((weights * pairs).sum(dim=1))).squeeze(-1)
        return answer
