"""Training a sequence network: windows of histories, an objective, and the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from offline.data.histories import Items, Weights
from offline.recommender.config import TrainingConfig
from offline.recommender.learning_rate import learning_rate_at
from offline.recommender.network import SequenceNetwork
from offline.recommender.objective import Objective
from offline.recommender.phases import choose_trained
from offline.recommender.touched_rows import TouchedRows
from offline.training.batches import Rows, batches_by_length
from offline.training.trainer import Phase, Plan


class SequenceTraining:
    """A network's training as a task for `Trainer`.

    Args:
        module: the network, on the device it is to be trained on.
        objective: gives the loss of a batch.
        windows: training windows of item_indices.
        batch_size: windows in a step.
        validate: NDCG@10 of the network; None: the last epoch is kept.
        weights: of the windows' items in the loss; None: all are alike.
        touched: reduces the item table to a step's rows; None: every step reads the whole table.
    """

    def __init__(
        self,
        module: SequenceNetwork,
        objective: Objective,
        windows: list[Items],
        batch_size: int,
        validate: Callable[[SequenceNetwork], float] | None,
        weights: list[Weights] | None = None,
        touched: TouchedRows | None = None,
    ) -> None:
        self.module, self._objective, self._windows = module, objective, windows
        self._batch_size, self._validate = batch_size, validate
        self._weights, self._touched = weights, touched
        self._lengths = np.array([len(window) for window in windows], dtype=np.int64)

    def begin(self, phase: str) -> None:
        """See `choose_trained`."""
        choose_trained(self.module, phase)

    def batches(self, rng: np.random.Generator) -> Sequence[Rows]:
        """Row numbers of windows, those of nearly one length together."""
        return list(batches_by_length(self._lengths, self._batch_size, rng))

    def loss(self, batch: Rows, rng: np.random.Generator) -> Tensor:
        """The objective's, of a batch of windows."""
        windows = [self._windows[row] for row in batch]
        weights = None if self._weights is None else [self._weights[row] for row in batch]
        if self._touched is None:
            return self._objective.loss(self.module, windows, rng, weights)
        with self._touched.of(windows, rng) as numbered:
            return self._objective.loss(self.module, numbered, rng, weights)

    def validate(self) -> float | None:
        """NDCG@10 of the network as it is now; None where nothing is held out."""
        return self._validate(self.module) if self._validate else None


def plan_training(config: TrainingConfig, phases: Sequence[Phase]) -> Plan:
    """How `Trainer` is to go about it."""
    return Plan(
        phases=phases,
        patience=config.patience,
        seed=config.seed,
        learning_rate=config.learning_rate,
        schedule=partial(learning_rate_at, config=config),
        weight_decay=config.weight_decay,
        averaging=config.weight_averaging,
        lazy=config.table_updates == "sparse",
    )
