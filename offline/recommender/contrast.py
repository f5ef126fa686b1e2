"""CL4SRec: two views of one history should be more similar than those of different people."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from offline.data.histories import Items, Weights, pad_right
from offline.recommender.criterion import as_tensor
from offline.recommender.network import SequenceNetwork
from offline.recommender.objective import Objective
from offline.training.group import current

View = Callable[[Items, np.random.Generator], Items]

# Of a history (Xie et al., 2022, section 4.1).
_KEPT_SHARE, _MASKED_SHARE, _REORDERED_SHARE = 0.6, 0.3, 0.6


def crop(history: Items, rng: np.random.Generator) -> Items:
    """A random stretch of it."""
    start, end = _stretch(len(history), _KEPT_SHARE, rng)
    return history[start:end]


def mask(history: Items, rng: np.random.Generator) -> Items:
    """A copy with some items replaced by 0, whose vector is zeros."""
    masked = history.copy()
    masked[rng.permutation(len(history))[: int(len(history) * _MASKED_SHARE)]] = 0
    return masked


def reorder(history: Items, rng: np.random.Generator) -> Items:
    """A copy with a random stretch shuffled."""
    start, end = _stretch(len(history), _REORDERED_SHARE, rng)
    reordered = history.copy()
    reordered[start:end] = rng.permutation(history[start:end])
    return reordered


VIEWS: tuple[View, ...] = (crop, mask, reorder)


class Contrast:
    """Another objective plus CL4SRec's (Xie et al., 2022, equation 8).

    Args:
        objective: the main one.
        weight: of the contrast.
        temperature: divisor of the cosines.
    """

    def __init__(self, objective: Objective, weight: float, temperature: float) -> None:
        self.objective, self.weight, self.temperature = objective, weight, temperature

    def loss(
        self,
        network: SequenceNetwork,
        windows: list[Items],
        rng: np.random.Generator,
        weights: list[Weights] | None = None,
    ) -> Tensor:
        """The main loss plus the weighted contrastive one.

        A group's processes compute all of the contrast, and each counts its share of it.
        """
        histories = [np.abs(window[:-1]) for window in windows]
        first, second = self._views(network, histories, rng)
        contrast = likeness_loss(first, second, self.temperature)
        main = self.objective.loss(network, windows, rng, weights)
        return main + self.weight * contrast / current().size

    def _views(
        self, network: SequenceNetwork, histories: list[Items], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """User vectors [B, D] of two different views of each history."""
        pairs = [rng.choice(len(VIEWS), 2, replace=False) for _ in histories]
        seen = [
            VIEWS[pair[side]](history, rng)
            for side in range(2)
            for history, pair in zip(histories, pairs, strict=True)
        ]
        table = network.items()
        block = pad_right(seen)
        lengths = np.array([len(view) for view in seen])
        present = as_tensor(np.arange(block.shape[1]) < lengths[:, None], table)
        items = F.embedding(as_tensor(block, table), table)
        first, second = network.after_last(items, present).chunk(2)
        return first, second


def likeness_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of each view's counterpart among all other views of the batch.

    Args:
        first, second: views of the same B histories, float32 [B, D].
        temperature: divisor of the cosines.
    """
    views = F.normalize(torch.cat([first, second]), dim=1)
    scores = views @ views.T / temperature
    scores = scores - torch.diag(torch.full((len(views),), torch.inf, device=views.device))
    places = torch.arange(len(views), device=views.device)
    return F.cross_entropy(scores, places.roll(len(first)))


def _stretch(length: int, share: float, rng: np.random.Generator) -> tuple[int, int]:
    size = max(1, int(length * share))
    start = int(rng.integers(length - size + 1))
    return start, start + size
