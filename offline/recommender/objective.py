"""What a network is trained to do with a batch of windows; another task is another objective."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from offline.recommender.batches import Items, pad_right
from offline.recommender.losses import catalogue_cross_entropy, sampled_cross_entropy
from offline.recommender.negatives import NegativeSampler
from offline.recommender.network import SequenceNetwork


class Objective(Protocol):
    """A loss over windows of item_indices."""

    def loss(
        self, network: SequenceNetwork, windows: list[Items], rng: np.random.Generator
    ) -> Tensor:
        """Mean loss of a batch of windows, a scalar with gradients."""
        ...


class NextItem:
    """Predict each next item at every position, in one causal pass.

    Items without a training interaction are in no softmax: to push them down as negatives would
    teach the network that what is new is bad.

    Args:
        counts: training interactions of each item, int64 [N+1].
        label_smoothing: weight spread over all items that take part.
        sampled_negatives: drawn for each batch; 0, or as many as items: the whole catalogue.
    """

    def __init__(
        self, counts: npt.NDArray[np.int64], label_smoothing: float, sampled_negatives: int
    ) -> None:
        self.trained = np.flatnonzero(counts)
        self.label_smoothing = label_smoothing
        self._class_of = np.zeros(len(counts), dtype=np.int64)
        self._class_of[self.trained] = np.arange(len(self.trained))
        self._sampler = (
            NegativeSampler(counts[self.trained], sampled_negatives)
            if 0 < sampled_negatives < len(self.trained)
            else None
        )

    def loss(
        self, network: SequenceNetwork, windows: list[Items], rng: np.random.Generator
    ) -> Tensor:
        """Mean cross-entropy over all next items in the windows."""
        table = network.items()
        history = pad_right([window[:-1] for window in windows])
        wanted = pad_right([window[1:] for window in windows])
        real = wanted > 0
        users = network(_tensor(history, table), table).flatten(0, 1)
        users = users.index_select(0, _tensor(np.flatnonzero(real), table))
        classes = table[_tensor(self.trained, table)]
        targets = _tensor(self._class_of[wanted[real]], table)
        if self._sampler is None:
            return catalogue_cross_entropy(users, classes, targets, self.label_smoothing)
        negatives, expected = self._sampler.draw(rng)
        return sampled_cross_entropy(
            users, classes, targets, _tensor(negatives, table), _tensor(expected, table)
        )


def _tensor(array: npt.NDArray[np.generic], like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device)
