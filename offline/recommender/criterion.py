"""The training's loss: user vectors against their targets and the other items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

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
from offline.training.group import current

Indices = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]


class Sampler(Protocol):
    """Draws negatives; see `NegativeSampler`."""

    def draw(self, rng: np.random.Generator) -> tuple[Indices, Weights]:
        """Positions of different items, int64 [S], and log probabilities, float32 [S]."""
        ...


@dataclass(frozen=True)
class Negatives:
    """The items that a batch's targets are told from.

    Attributes:
        items: item_indices int64: different ones [S], for all positions; with bce one a position.
        logs: log of each one's probability of being drawn, float32 [S]; None: they take no part in
            the loss, or the items are the whole catalogue.
    """

    items: Indices
    logs: Weights | None = None


class Criterion:
    """The training's loss, over the items that have a training interaction.

    The others take no part: as negatives they would teach the network that new items are bad.

    Args:
        counts: training interactions of each item, int64 [N+1].
        config: names the loss; as many negatives as items, or more, are the whole catalogue.
        sampler: draws the negatives of a sampled softmax.
    """

    def __init__(
        self,
        counts: Indices,
        config: TrainingConfig,
        sampler: Callable[[Indices, int], Sampler] = NegativeSampler,
    ) -> None:
        self.trained = np.flatnonzero(counts)
        self.config = config
        self._class_of = np.zeros(len(counts), dtype=np.int64)
        self._class_of[self.trained] = np.arange(len(self.trained))
        self._kept: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._sampler: Sampler | None = None
        self._n_negatives = config.negatives_among(len(self.trained))
        if config.loss == "softmax" and 0 < self._n_negatives < len(self.trained):
            self._sampler = sampler(counts[self.trained], self._n_negatives)

    def loss(
        self,
        users: Tensor,
        table: Tensor,
        targets: Indices,
        rng: np.random.Generator,
        weights: Weights | None = None,
    ) -> Tensor:
        """Mean loss, a scalar; in a group a process's share of it, which are added up.

        Args:
            users: float32 [P, D].
            table: float32 [N+1, D].
            targets: item_indices int64 [P], all of them trained items.
            rng: draws negatives.
            weights: factors on each target's loss, float32 [P]; None: all are 1.
        """
        negatives, group = self._draw(targets, rng), current()
        if group.size == 1:
            return self._mean(users, table, targets, negatives, weights)
        part = group.part_of(len(targets))
        targets_of_part = targets[part]
        if not len(targets_of_part):
            return users.sum() * 0.0  # its backward pass takes part in the others'
        if self.config.loss == "bce":
            negatives = Negatives(negatives.items[part])
        factors = None if weights is None else weights[part]
        mean = self._mean(users[part], table, targets_of_part, negatives, factors)
        return mean * (len(targets_of_part) / len(targets))

    def _draw(self, targets: Indices, rng: np.random.Generator) -> Negatives:
        if self.config.loss == "bce":
            return Negatives(self._one_each(targets, rng))
        if self.config.loss == "gbce":
            size = min(self._n_negatives, len(self.trained))
            return Negatives(rng.choice(self.trained, size, replace=False))
        if self._sampler is None:
            return Negatives(self.trained)
        drawn, logs = self._sampler.draw(rng)
        return Negatives(self.trained[drawn], logs)

    def _mean(
        self,
        users: Tensor,
        table: Tensor,
        targets: Indices,
        negatives: Negatives,
        weights: Weights | None,
    ) -> Tensor:
        """Mean loss of targets [P] against their negatives, both rows of the table."""
        wanted = as_tensor(targets, table)
        factors = None if weights is None else as_tensor(weights, table)
        if self.config.loss == "softmax" and negatives.logs is None:
            # The only loss that reads every row: leave out those that take no part.
            trained, class_of = self._on(table.device)
            smoothing = self.config.label_smoothing
            return catalogue_cross_entropy(
                users, table[trained], class_of[wanted], smoothing, factors
            )
        others = as_tensor(negatives.items, table)
        if self.config.loss == "bce":
            return binary_cross_entropy(users, table, wanted, others, factors)
        if negatives.logs is None:
            return generalised_binary_cross_entropy(
                users, table, wanted, others, self._exponent(len(others)), factors
            )
        logs = as_tensor(negatives.logs, table)
        return sampled_cross_entropy(users, table, wanted, others, logs, factors)

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

    def _exponent(self, n_drawn: int) -> float:
        """Of gBCE, for so many negatives."""
        n_items = len(self.trained)
        others = min(n_drawn, max(1, n_items - 1))
        return gbce_exponent(others, max(2, n_items), self.config.gbce_calibration)


def as_tensor(array: npt.NDArray[np.generic], like: Tensor) -> Tensor:
    """An array where another tensor is."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device)
