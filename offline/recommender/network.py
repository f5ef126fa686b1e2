"""Items and backbone as one network, the same for every architecture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offline.recommender.backbone import Backbone
from offline.recommender.config import Precision


class SequenceNetwork(nn.Module):
    """What is trained: the item table reads the history and, tied, is what is scored against.

    Args:
        items: makes the table, float32 [N+1, D].
        backbone: reads it.
        precision: of the backbone's arithmetic in training. What comes out of it is float32 with
            either, and so are weights and gradients.
    """

    def __init__(
        self, items: nn.Module, backbone: Backbone, precision: Precision = "float32"
    ) -> None:
        super().__init__()
        self.items = items
        self.backbone = backbone
        self.precision = precision

    def forward(self, history: Tensor, table: Tensor) -> Tensor:
        """What comes next at every position.

        Args:
            history: int64 [B, L], 0 = padding on the right.
            table: float32 [N+1, D], from `items()`; given, since a step uses it twice.

        Returns:
            float32 [B, L, D].
        """
        return self.everywhere(F.embedding(history, table), history != 0)

    def everywhere(self, items: Tensor, present: Tensor) -> Tensor:
        """`Backbone.forward` in the training's precision; float32 [B, L, D]."""
        with self._arithmetic(items.device):
            users: Tensor = self.backbone(items, present)
        return users.float()

    def after_last(self, items: Tensor, present: Tensor) -> Tensor:
        """`Backbone.last_as_trained` in the training's precision; float32 [B, D]."""
        with self._arithmetic(items.device):
            users = self.backbone.last_as_trained(items, present)
        return users.float()

    def _arithmetic(self, device: torch.device) -> torch.autocast:
        enabled = self.precision == "bfloat16"
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


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
