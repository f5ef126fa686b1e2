"""Training objectives over batches of windows."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from offline.data.histories import Items, Weights, pad_right, pad_weights
from offline.recommender.backbones.bert4rec import Bert4rec
from offline.recommender.config import Bert4recConfig
from offline.recommender.criterion import Criterion, as_tensor
from offline.recommender.network import SequenceNetwork

Mask = npt.NDArray[np.bool_]


class Objective(Protocol):
    """A loss over windows of item_indices.

    A negated item was inserted: the network reads it, and it is never a target.
    """

    def loss(
        self,
        network: SequenceNetwork,
        windows: list[Items],
        rng: np.random.Generator,
        weights: list[Weights] | None = None,
    ) -> Tensor:
        """Mean loss of a batch of windows, a scalar with gradients.

        `weights` are factors on the loss of each item of the windows; None: all are 1.
        """
        ...


class NextItem:
    """Predict each next item at every position, in one causal pass."""

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion

    def loss(
        self,
        network: SequenceNetwork,
        windows: list[Items],
        rng: np.random.Generator,
        weights: list[Weights] | None = None,
    ) -> Tensor:
        """Mean loss over all next items in the windows."""
        table = network.items()
        history = np.abs(pad_right([window[:-1] for window in windows]))
        wanted = pad_right([window[1:] for window in windows])
        users = network(as_tensor(history, table), table)
        factors = None
        if weights is not None:
            factors = pad_weights([row[1:] for row in weights])[wanted > 0]
        return self.criterion.loss(_at(users, wanted > 0), table, wanted[wanted > 0], rng, factors)


class HiddenItem:
    """Predict items that are hidden from the network (the Cloze task of BERT4Rec, section 3.6).

    In some sequences the last item alone is hidden, as in serving.
    """

    def __init__(self, criterion: Criterion, config: Bert4recConfig) -> None:
        self.criterion, self.config = criterion, config

    def loss(
        self,
        network: SequenceNetwork,
        windows: list[Items],
        rng: np.random.Generator,
        weights: list[Weights] | None = None,
    ) -> Tensor:
        """Mean loss over all hidden items in the windows."""
        backbone = network.backbone
        if not isinstance(backbone, Bert4rec):
            raise TypeError(f"{type(backbone).__name__} has nothing to hide items behind")
        table = network.items()
        block = pad_right(windows)
        hidden = self.choose(block, rng)
        items = torch.where(
            as_tensor(hidden, table).unsqueeze(-1),
            backbone.mask,
            F.embedding(as_tensor(np.abs(block), table), table),
        )
        users = network.everywhere(items, as_tensor(block != 0, table))
        factors = None if weights is None else pad_weights(weights)[hidden]
        return self.criterion.loss(_at(users, hidden), table, block[hidden], rng, factors)

    def choose(self, block: npt.NDArray[np.int64], rng: np.random.Generator) -> Mask:
        """The items to hide of a block [B, L], padded on the right: at least one in each row.

        Inserted items are not hidden.
        """
        steps = np.arange(block.shape[1])
        last = steps == np.where(block > 0, steps, -1).max(axis=1, keepdims=True)
        hidden: Mask = (rng.random(block.shape) < self.config.hidden_share) & (block > 0)
        last_alone = rng.random(len(block)) < self.config.last_share
        last_alone |= ~hidden.any(axis=1)
        return np.where(last_alone[:, None], last, hidden)


def _at(users: Tensor, chosen: Mask) -> Tensor:
    """User vectors [P, D] at the chosen positions of [B, L, D]."""
    return users.flatten(0, 1).index_select(0, as_tensor(np.flatnonzero(chosen), users))
