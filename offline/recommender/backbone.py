"""Sequence networks: item vectors in, a vector of what comes next out.

A backbone knows nothing of ids, tables, losses or knowledge; a further architecture is one more
subclass of `Backbone` in `backbones`, trained and exported by the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Turns item vectors into user vectors."""

    @abstractmethod
    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """What comes next at each position: what is trained.

        A causal network makes it of the item there and those before it alone, so that all
        positions are trained at once; `CausalBackbone` says that it is one.

        Args:
            items: float32 [B, L, D], oldest → newest, padding on the right.
            present: bool [B, L], False at padding.

        Returns:
            float32 [B, L, D]; finite, but without meaning, at padding.
        """

    @abstractmethod
    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """What comes next after the last item, float32 [B, D]: the user's vector.

        Here padding is on the left, so that the last item is in the last place. This is what is
        exported and served, so an architecture may compute it in its own, cheaper way; L is at
        most the configured max_length. The export is refused where it differs from
        `last_as_trained`.
        """

    @abstractmethod
    def last_as_trained(self, items: Tensor, present: Tensor) -> Tensor:
        """The same, computed by `forward`; padding is on the right. float32 [B, D]."""


class CausalBackbone(Backbone):
    """A network whose vector at a position depends on nothing that comes later."""

    def last_as_trained(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last_as_trained`: `forward` at the last item."""
        rows = torch.arange(len(items), device=items.device)
        users: Tensor = self(items, present)[rows, present.sum(dim=1) - 1]
        return users
