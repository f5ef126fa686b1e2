"""Items and backbone as one network, the same for every architecture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offline.recommender.backbone import Backbone
from offline.recommender.config import Precision
from offline.training.group import current


class SequenceNetwork(nn.Module):
    """The trained module: one item table encodes the history and, tied, scores the items.

    Args:
        items: computes the table, float32 [N+1, D].
        backbone: reads its rows.
        precision: of the backbone's arithmetic in training. Its output, weights and gradients are
            float32 with either.
    """

    def __init__(
        self, items: nn.Module, backbone: Backbone, precision: Precision = "float32"
    ) -> None:
        super().__init__()
        self.items = items
        self.backbone = backbone
        self.precision = precision

    def forward(self, history: Tensor, table: Tensor) -> Tensor:
        """Predict the next item at every position.

        Args:
            history: int64 [B, L], 0 = padding on the right.
            table: float32 [N+1, D], from `items()`; given, since a step uses it twice.

        Returns:
            float32 [B, L, D].
        """

        def read(history: Tensor) -> Tensor:
            return self._everywhere(F.embedding(history, table), history != 0)

        return _in_parts(read, history)

    def everywhere(self, items: Tensor, present: Tensor) -> Tensor:
        """`Backbone.forward` in the training's precision; float32 [B, L, D]."""
        return _in_parts(self._everywhere, items, present)

    def after_last(self, items: Tensor, present: Tensor) -> Tensor:
        """`Backbone.last_as_trained` in the training's precision; float32 [B, D]."""
        return _in_parts(self._after_last, items, present)

    def _everywhere(self, items: Tensor, present: Tensor) -> Tensor:
        with self._arithmetic(items.device):
            users: Tensor = self.backbone(items, present)
        return users.float()

    def _after_last(self, items: Tensor, present: Tensor) -> Tensor:
        with self._arithmetic(items.device):
            users = self.backbone.last_as_trained(items, present)
        return users.float()

    def _arithmetic(self, device: torch.device) -> torch.autocast:
        enabled = self.precision == "bfloat16"
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def _in_parts(read: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """What `read` makes of a batch; of a group's processes each reads a part of the rows."""
    group = current()
    if group.size == 1:
        return read(*inputs)
    return group.gather(lambda rows: read(*(tensor[rows] for tensor in inputs)), len(inputs[0]))


class ServingNetwork(nn.Module):
    """The exported module: from histories and an item table to scores and user vectors.

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
