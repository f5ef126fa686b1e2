"""Several networks as one: trained together, each on its own part of an item's vector.

The errors of a network vary between trainings, above all where users are few, and the mean of
several varies less. As parts of one vector they are one table, one graph and one request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from offline.data.histories import Items, Weights
from offline.recommender.backbone import Backbone
from offline.recommender.item_encoder import ItemEncoder
from offline.recommender.network import SequenceNetwork
from offline.recommender.objective import Objective


class EnsembleItems(nn.Module):
    """The members' item tables in one.

    Args:
        members: item encoders of M networks, each with a table [N+1, D / M].
    """

    def __init__(self, members: Sequence[ItemEncoder]) -> None:
        super().__init__()
        self._members = nn.ModuleList(members)

    @property
    def members(self) -> list[ItemEncoder]:
        """The M tables."""
        return cast(list[ItemEncoder], list(self._members))

    def forward(self) -> Tensor:
        """The whole table, float32 [N+1, D]."""
        return torch.cat([member() for member in self.members], dim=1)


class Ensemble(Backbone):
    """Several backbones, each reading its own part of the item vectors.

    A user's vector holds the members' vectors divided by M, so that a score is the mean of the
    members' scores: the geometric mean of their probabilities.

    Args:
        members: M backbones over vectors of D / M.
    """

    def __init__(self, members: Sequence[Backbone]) -> None:
        super().__init__()
        self._members = nn.ModuleList(members)

    @property
    def members(self) -> list[Backbone]:
        """The M backbones."""
        return cast(list[Backbone], list(self._members))

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        return self._side_by_side(items, lambda member, part: member(part, present))

    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last`."""
        return self._side_by_side(items, lambda member, part: member.last(part, present))

    def last_as_trained(self, items: Tensor, present: Tensor) -> Tensor:
        """See `Backbone.last_as_trained`."""
        return self._side_by_side(items, lambda member, part: member.last_as_trained(part, present))

    def _side_by_side(self, items: Tensor, read: Callable[[Backbone, Tensor], Tensor]) -> Tensor:
        parts = items.chunk(len(self.members), dim=-1)
        users = [read(member, part) for member, part in zip(self.members, parts, strict=True)]
        return torch.cat(users, dim=-1) / len(self.members)


class EachMember:
    """Another objective for each member by itself.

    A loss of the averaged scores would let the members share the work instead of repeating it, and
    they would no longer be independent.

    Args:
        objective: of one network.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def loss(
        self,
        network: SequenceNetwork,
        windows: list[Items],
        rng: np.random.Generator,
        weights: list[Weights] | None = None,
    ) -> Tensor:
        """Mean of the members' losses.

        A factor on the loss hardly matters: AdamW's steps don't depend on it.
        """
        members = members_of(network)
        losses = [self.objective.loss(member, windows, rng, weights) for member in members]
        return torch.stack(losses).mean()


def members_of(network: SequenceNetwork) -> list[SequenceNetwork]:
    """The networks whose parameters an ensemble's are."""
    items, backbone = network.items, network.backbone
    if not (isinstance(items, EnsembleItems) and isinstance(backbone, Ensemble)):
        raise TypeError(f"{type(backbone).__name__} is no ensemble")
    pairs = zip(items.members, backbone.members, strict=True)
    return [SequenceNetwork(table, member, network.precision) for table, member in pairs]
