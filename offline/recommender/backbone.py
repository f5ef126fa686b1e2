"""Sequence networks: from item vectors to a vector that predicts the next item.

A backbone knows no ids, tables, losses or knowledge; a further architecture is one more subclass of
`Backbone` in `backbones`, trained and exported by the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Turns item vectors into user vectors."""

    @abstractmethod
    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """Predict the next item at each position: the path that is trained.

        A causal network computes it from the items up to that position only, so that all
        positions are trained at once; its class is a `CausalBackbone`.

        Args:
            items: float32 [B, L, D], oldest → newest, padding on the right.
            present: bool [B, L], False at padding.

        Returns:
            float32 [B, L, D]; finite, but without meaning, at padding.
        """

    @abstractmethod
    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """Predict the item after the last one, float32 [B, D]: the user's vector.

        Here padding is on the left, so that the last item is at the last position. This path is
        exported and served, so an architecture may compute it in a cheaper way of its own; L is at
        most the configured max_length. The export fails where it differs from `last_as_trained`.
        """

    @abstractmethod
    def last_as_trained(self, items: Tensor, present: Tensor) -> Tensor:
        """The same, computed by `forward`; padding is on the right. float32 [B, D]."""


class CausalBackbone(Backbone):
    """A network whose vector at a position doesn't depend on later items."""

    def last_as_trained(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last_as_trained`: `forward` at the last item."""
        rows = torch.arange(len(items), device=items.device)
        users: Tensor = self(items, present)[rows, present.sum(dim=1) - 1]
        return users
