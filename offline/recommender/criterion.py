"""How well user vectors tell their targets from the other items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from offline.recommender.config import TrainingConfig
from offline.recommender.losses import (
    binary_cross_entropy,
    catalogue_cross_entropy,
    gbce_exponent,
    generalised_binary_cross_entropy,
    sampled_cross_entropy,
)
from offline.recommender.negatives import NegativeSampler


class Criterion:
    """The training's loss, over the items that have a training interaction.

    The others take no part: to push them down as negatives would teach the network that what is
    new is bad.

    Args:
        counts: training interactions of each item, int64 [N+1].
        config: names the loss; as many negatives as items, or more, are the whole catalogue.
    """

    def __init__(self, counts: npt.NDArray[np.int64], config: TrainingConfig) -> None:
        self.trained = np.flatnonzero(counts)
        self.config = config
        self._class_of = np.zeros(len(counts), dtype=np.int64)
        self._class_of[self.trained] = np.arange(len(self.trained))
        self._sampler = None
        if 0 < config.sampled_negatives < len(self.trained):
            self._sampler = NegativeSampler(counts[self.trained], config.sampled_negatives)

    def loss(
        self,
        users: Tensor,
        table: Tensor,
        targets: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Tensor:
        """Mean loss, a scalar.

        Args:
            users: float32 [P, D].
            table: float32 [N+1, D].
            targets: item_indices int64 [P], all of them trained items.
            rng: draws negatives.
        """
        items = table[as_tensor(self.trained, table)]
        wanted = self._class_of[targets]
        places = as_tensor(wanted, table)
        if self.config.loss == "bce":
            return binary_cross_entropy(
                users, items, places, as_tensor(self._one_each(wanted, rng), table)
            )
        if self.config.loss == "gbce":
            return self._generalised(users, items, places, rng)
        if self._sampler is None:
            return catalogue_cross_entropy(users, items, places, self.config.label_smoothing)
        drawn, logs = (as_tensor(part, table) for part in self._sampler.draw(rng))
        return sampled_cross_entropy(users, items, places, drawn, logs)

    def _one_each(
        self, wanted: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """For each target another item, drawn evenly; a lone item is its own negative."""
        drawn = rng.integers(max(1, len(self.trained) - 1), size=len(wanted))
        return np.minimum(drawn + (drawn >= wanted), len(self.trained) - 1)

    def _generalised(
        self, users: Tensor, items: Tensor, places: Tensor, rng: np.random.Generator
    ) -> Tensor:
        size = min(self.config.sampled_negatives, len(items))
        drawn = as_tensor(rng.choice(len(items), size, replace=False), items)
        others = min(size, max(1, len(items) - 1))
        exponent = gbce_exponent(others, max(2, len(items)), self.config.gbce_calibration)
        return generalised_binary_cross_entropy(users, items, places, drawn, exponent)


def as_tensor(array: npt.NDArray[np.generic], like: Tensor) -> Tensor:
    """An array where another tensor is."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device)
