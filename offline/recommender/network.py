"""Items and backbone as one network, the same for every architecture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offline.recommender.backbone import Backbone
from offline.recommender.item_encoder import ItemEncoder


class SequenceNetwork(nn.Module):
    """What is trained: the item table reads the history and, tied, is what is scored against."""

    def __init__(self, items: ItemEncoder, backbone: Backbone) -> None:
        super().__init__()
        self.items = items
        self.backbone = backbone

    def forward(self, history: Tensor, table: Tensor) -> Tensor:
        """What comes next at every position.

        Args:
            history: int64 [B, L], 0 = padding on the right.
            table: float32 [N+1, D], from `items()`; given, since a step uses it twice.

        Returns:
            float32 [B, L, D].
        """
        users: Tensor = self.backbone(F.embedding(history, table), history != 0)
        return users

    def users(self, history: Tensor, table: Tensor) -> Tensor:
        """User vectors [B, D] from histories int64 [B, L], padded on the left, and a table."""
        return self.backbone.last(F.embedding(history, table), history != 0)


class ServingNetwork(nn.Module):
    """What is exported: histories and an item table in, scores and user vectors out.

    The table is an input, so that one copy is shared by every request and fresh items are rows
    appended to it.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, history: Tensor, item_table: Tensor) -> tuple[Tensor, Tensor]:
        """Scores float32 [B, N+1] and user vectors [B, D]; scores = user @ item_table.T."""
        user = self.backbone.last(F.embedding(history, item_table), history != 0)
        return torch.matmul(user, item_table.T), user
