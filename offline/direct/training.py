"""Training a network over a graph: triples, a loss and the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from offline.direct.config import DirectConfig
from offline.direct.networks import FactorNetwork
from offline.direct.triples import Triples, TripleSampler
from offline.training.trainer import Phase, Plan

PHASE = "everything"


class FactorTraining:
    """A network's training as a task for `Trainer`.

    Args:
        module: the network.
        sampler: of its graph's triples.
        validate: NDCG@10 of the network; None: the last epoch is kept.
    """

    def __init__(
        self,
        module: FactorNetwork,
        sampler: TripleSampler,
        validate: Callable[[FactorNetwork], float] | None,
    ) -> None:
        self.module, self._sampler, self._validate = module, sampler, validate

    def begin(self, phase: str) -> None:
        """Train all vectors; there is one phase."""

    def batches(self, rng: np.random.Generator) -> Sequence[Triples]:
        """An epoch's triples; what the network keeps for an epoch is drawn first."""
        self.module.begin_epoch(rng)
        return self._sampler.batches(rng)

    def loss(self, batch: Triples, rng: np.random.Generator) -> Tensor:
        """The network's, of a batch."""
        return self.module.loss(batch, rng)

    def validate(self) -> float | None:
        """NDCG@10 of the network as it is now; None where nothing is held out."""
        return self._validate(self.module) if self._validate else None


def plan_training(config: DirectConfig, epochs: int) -> Plan:
    """How `Trainer` is to go about it, for at most so many epochs."""
    return Plan(
        phases=(Phase(PHASE, epochs),),
        patience=config.patience,
        seed=config.seed,
        learning_rate=config.learning_rate,
        schedule=lambda _epoch, _step, _n_steps: config.learning_rate,
        weight_decay=0.0,
    )
