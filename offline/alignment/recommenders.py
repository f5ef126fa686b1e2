"""The recommenders that alignment starts from: Rec over ids and knowledge, Rec_f over ids alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from offline.alignment.drawn_texts import DrawnTexts
from offline.data.histories import Items, Weights
from offline.data.split import Cases
from offline.fingerprint import fingerprint_of
from offline.metrics import Ranking, ndcg_at_k, rank_cases
from offline.recommender.config import RecommenderConfig, TrainingConfig
from offline.recommender.fresh import FreshRegression
from offline.recommender.network import SequenceNetwork
from offline.recommender.objective import Objective
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from offline.recommender.touched_rows import TouchedRows
from offline.recommender.training import SequenceTraining
from offline.training.batches import Rows
from offline.training.trainer import Phase


class DrawnTextsTraining(SequenceTraining):
    """A training in which each batch reads other texts of the items; validation reads the first."""

    drawn: DrawnTexts

    def loss(self, batch: Rows, rng: np.random.Generator) -> Tensor:
        """See `SequenceTraining.loss`; texts are drawn first."""
        self.drawn.exchange(self.module, rng)
        return super().loss(batch, rng)

    def validate(self) -> float | None:
        """See `SequenceTraining.validate`; leaves the items with their texts before alignment."""
        self.drawn.restore(self.module)
        return super().validate()


class TunableRecommender(SequenceRecommender):
    """A sequence recommender that keeps its network, item encoder included, after `fit`.

    Attributes:
        network: on the CPU, in evaluation mode.

    Args:
        config: of the network.
        training: of it.
        drawn: texts that batches are trained with; None: those of the data alone.
    """

    network: SequenceNetwork

    def __init__(
        self, config: RecommenderConfig, training: TrainingConfig, drawn: DrawnTexts | None = None
    ) -> None:
        super().__init__(config, training)
        self._drawn = drawn

    def new_network(self, data: TrainingData) -> SequenceNetwork:
        """A network of this shape for data with knowledge, with its first weights."""
        return SequenceNetwork(self._new_item_encoder(data), self._new_backbone())

    def measure(self, network: SequenceNetwork, data: TrainingData) -> float:
        """NDCG@10 of a network of this shape on the validation cases; NaN where there are none."""
        if data.validation is None:
            return float("nan")
        return ndcg_at_k(self.rank(network, data, data.validation).ranks)

    def rank(self, network: SequenceNetwork, data: TrainingData, cases: Cases) -> Ranking:
        """How a network of this shape ranks cases."""
        regression = FreshRegression(data.knowledge, data.counts() > 0)
        was_training = network.training
        network.eval()
        self._adopt(network, data, regression)
        network.train(was_training)
        return rank_cases(self.score, cases, k=0)

    def _new_training(
        self,
        network: SequenceNetwork,
        objective: Objective,
        windows: list[Items],
        validate: Callable[[SequenceNetwork], float] | None,
        weights: list[Weights] | None,
        touched: TouchedRows | None,
    ) -> SequenceTraining:
        if self._drawn is None:
            return super()._new_training(network, objective, windows, validate, weights, touched)
        task = DrawnTextsTraining(
            network, objective, windows, self.training.batch_size, validate, weights, touched
        )
        task.drawn = self._drawn
        return task

    def _adopt(
        self, network: SequenceNetwork, data: TrainingData, regression: FreshRegression
    ) -> None:
        super()._adopt(network, data, regression)
        self.network = network

    def _fingerprint(self, data: TrainingData, phases: tuple[Phase, ...]) -> str:
        own = super()._fingerprint(data, phases)
        return own if self._drawn is None else fingerprint_of(own, *self._drawn.arrays())


def fit_with_knowledge(
    config: RecommenderConfig,
    training: TrainingConfig,
    data: TrainingData,
    folder: Path,
    drawn: DrawnTexts | None = None,
) -> TunableRecommender:
    """Rec as it is before alignment; a killed training resumes from the folder.

    Args:
        config, training: of the recommender.
        data: with the vectors of the texts before alignment.
        folder: of the checkpoint.
        drawn: other texts, of which each batch of the training reads one an item.

    Raises:
        InputError: there is nothing to learn from, or the loss diverged.
    """
    return TunableRecommender(config, training, drawn).fit(data, folder)


def fit_without_knowledge(
    config: RecommenderConfig, training: TrainingConfig, data: TrainingData, folder: Path
) -> TunableRecommender:
    """Rec_f: the same over ids alone, which start as random numbers."""
    alone = config.model_copy(update={"id_init": "random", "knowledge_beside_ids": False})
    return TunableRecommender(alone, training).fit(replace(data, knowledge=None), folder)
