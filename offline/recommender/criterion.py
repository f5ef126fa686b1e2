"""The training's loss: user vectors against their targets and the other items."""

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

Indices = npt.NDArray[np.int64]


class Criterion:
    """The training's loss, over the items that have a training interaction.

    The others take no part: as negatives they would teach the network that new items are bad.

    Args:
        counts: training interactions of each item, int64 [N+1].
        config: names the loss; as many negatives as items, or more, are the whole catalogue.
    """

    def __init__(self, counts: npt.NDArray[np.int64], config: TrainingConfig) -> None:
        self.trained = np.flatnonzero(counts)
        self.config = config
        self._class_of = np.zeros(len(counts), dtype=np.int64)
        self._class_of[self.trained] = np.arange(len(self.trained))
        self._kept: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._sampler = None
        self._n_negatives = config.negatives_among(len(self.trained))
        if 0 < self._n_negatives < len(self.trained):
            self._sampler = NegativeSampler(counts[self.trained], self._n_negatives)

    def loss(
        self,
        users: Tensor,
        table: Tensor,
        targets: Indices,
        rng: np.random.Generator,
        weights: npt.NDArray[np.float32] | None = None,
    ) -> Tensor:
        """Mean loss, a scalar.

        Args:
            users: float32 [P, D].
            table: float32 [N+1, D].
            targets: item_indices int64 [P], all of them trained items.
            rng: draws negatives.
            weights: factors on each target's loss, float32 [P]; None: all are 1.
        """
        factors = None if weights is None else as_tensor(weights, table)
        if self.config.loss == "bce":
            others = self._one_each(targets, rng)
            return binary_cross_entropy(
                users, table, as_tensor(targets, table), as_tensor(others, table), factors
            )
        if self.config.loss == "gbce":
            return self._generalised(users, table, targets, rng, factors)
        if self._sampler is None:
            # The only loss that reads every row: leave out those that take no part.
            trained, class_of = self._on(table.device)
            classes = class_of[as_tensor(targets, table)]
            smoothing = self.config.label_smoothing
            return catalogue_cross_entropy(users, table[trained], classes, smoothing, factors)
        drawn, logs = self._sampler.draw(rng)
        return sampled_cross_entropy(
            users,
            table,
            as_tensor(targets, table),
            as_tensor(self.trained[drawn], table),
            as_tensor(logs, table),
            factors,
        )

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The trained items, and each item's place among them; taken to a device once."""
        if device not in self._kept:
            trained, class_of = torch.from_numpy(self.trained), torch.from_numpy(self._class_of)
            self._kept[device] = trained.to(device), class_of.to(device)
        return self._kept[device]

    def _one_each(self, targets: Indices, rng: np.random.Generator) -> Indices:
        """For each target another item, drawn evenly; a lone item is its own negative."""
        drawn = rng.integers(max(1, len(self.trained) - 1), size=len(targets))
        passed = drawn >= self._class_of[targets]
        others: Indices = self.trained[np.minimum(drawn + passed, len(self.trained) - 1)]
        return others

    def _generalised(
        self,
        users: Tensor,
        table: Tensor,
        targets: Indices,
        rng: np.random.Generator,
        factors: Tensor | None,
    ) -> Tensor:
        n_items = len(self.trained)
        size = min(self._n_negatives, n_items)
        drawn = rng.choice(self.trained, size, replace=False)
        others = min(size, max(1, n_items - 1))
        exponent = gbce_exponent(others, max(2, n_items), self.config.gbce_calibration)
        return generalised_binary_cross_entropy(
            users, table, as_tensor(targets, table), as_tensor(drawn, table), exponent, factors
        )


def as_tensor(array: npt.NDArray[np.generic], like: Tensor) -> Tensor:
    """An array where another tensor is."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device)
