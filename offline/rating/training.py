"""Training a rating network on squared error, as a task for `Trainer`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from offline.rating.config import RatingConfig
from offline.rating.network import RatingNetwork
from offline.rating.ratings import Ratings
from offline.training.trainer import Phase, Plan

Rows = npt.NDArray[np.int64]
_PREDICTED_ROWS = 8192


class RatingTraining:
    """Mean squared error of batches of ratings; the epoch is chosen by R² on validation.

    R², the share of the variance that predictions explain, is highest where RMSE is lowest.

    Args:
        module: the network.
        train: ratings to learn from.
        validation: None: the last epoch is kept.
        batch_size: ratings in a step.
    """

    def __init__(
        self, module: RatingNetwork, train: Ratings, validation: Ratings | None, batch_size: int
    ) -> None:
        self.module, self._validation, self._batch_size = module, validation, batch_size
        self._users, self._items, self._values = (
            torch.from_numpy(array)
            for array in (
                train.users.astype(np.int64),
                train.items.astype(np.int64),
                train.values.astype(np.float32),
            )
        )

    def begin(self, phase: str) -> None:
        """All parameters are trained, in the one phase."""

    def batches(self, rng: np.random.Generator) -> Sequence[Rows]:
        """Numbers of ratings, shuffled."""
        order = rng.permutation(len(self._values))
        size = self._batch_size
        return [order[start : start + size] for start in range(0, len(order), size)]

    def loss(self, batch: Rows, rng: np.random.Generator) -> Tensor:  # noqa: ARG002
        """Mean squared error of a batch."""
        rows = torch.from_numpy(batch)
        predicted = self.module(self._users[rows], self._items[rows])
        return torch.nn.functional.mse_loss(predicted, self._values[rows])

    def validate(self) -> float | None:
        """R² of the network as it is now; None where nothing is held out."""
        held_out = self._validation
        if held_out is None:
            return None
        errors = predict(self.module, held_out) - held_out.values
        return float(1 - np.mean(errors**2) / np.var(held_out.values))


@torch.inference_mode()
def predict(network: RatingNetwork, ratings: Ratings) -> npt.NDArray[np.float32]:
    """Predictions float32 [n] for users and items of ratings, not clipped."""
    network.eval()
    parts = [np.zeros(0, np.float32)]
    for start in range(0, len(ratings), _PREDICTED_ROWS):
        users, items = (
            torch.from_numpy(array[start : start + _PREDICTED_ROWS].astype(np.int64))
            for array in (ratings.users, ratings.items)
        )
        parts.append(network(users, items).numpy())
    return np.concatenate(parts)


def plan_training(config: RatingConfig, epochs: int) -> Plan:
    """How `Trainer` is to go about it."""
    return Plan(
        phases=[Phase("all", epochs)],
        patience=config.patience,
        seed=config.seed,
        learning_rate=config.learning_rate,
        schedule=lambda *_: config.learning_rate,
        weight_decay=config.weight_decay,
        figure="R²",
    )
