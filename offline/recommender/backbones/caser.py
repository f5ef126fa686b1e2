"""Caser: convolutions over the last items, seen as an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offline.recommender.backbone import CausalBackbone
from offline.recommender.config import CaserConfig
from offline.recommender.dropout import ByteDropout


class Caser(CausalBackbone):
    """Convolutional sequence embedding (Tang and Wang, 2018), of all positions in one pass.

    A position sees its last `window` items. Unlike in the paper users have no vectors of their own,
    so that users without training data are answered like any other.
    """

    def __init__(self, config: CaserConfig) -> None:
        super().__init__()
        size, window = config.embedding_size, config.window
        self.scale = size**0.5
        self.window = window
        self.horizontal = nn.ModuleList(
            nn.Conv1d(size, config.horizontal_filters, height) for height in range(1, window + 1)
        )
        self.vertical = nn.Conv1d(1, config.vertical_filters, window)
        features = config.horizontal_filters * window + config.vertical_filters * size
        self.out = nn.Linear(features, size)
        self.norm = nn.LayerNorm(size)
        self.dropout = ByteDropout(config.dropout)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.forward`; positions before the first item are zeros."""
        del present  # positions before an item are never padding
        states = F.pad(self.dropout(items * self.scale), (0, 0, self.window - 1, 0))
        return self._of_windows(states)

    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last`: of the last window alone, whatever the history's length."""
        states = F.pad(items * present.unsqueeze(-1) * self.scale, (0, 0, self.window, 0))
        return self._of_windows(states[:, -self.window :])[:, 0]

    def _of_windows(self, states: Tensor) -> Tensor:
        """A vector of each whole window: [B, n, D] from [B, n + window - 1, D]."""
        image = states.transpose(1, 2)
        batch, size, length = image.shape
        found = [
            F.max_pool1d(F.relu(filters(image)), self.window - height + 1, stride=1)
            for height, filters in enumerate(self.horizontal, start=1)
        ]
        lines = self.vertical(image.reshape(batch * size, 1, length))
        found.append(lines.reshape(batch, -1, length - self.window + 1))
        features = self.dropout(torch.cat(found, dim=1).transpose(1, 2))
        return self.norm(self.out(features))  # type: ignore[no-any-return]
