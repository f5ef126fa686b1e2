"""The recommenders that alignment starts from: Rec over ids and knowledge, Rec_f over ids alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from offline.metrics import ndcg_at_k, rank_cases
from offline.recommender.config import RecommenderConfig, TrainingConfig
from offline.recommender.fresh import FreshRegression
from offline.recommender.network import SequenceNetwork
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender


class TunableRecommender(SequenceRecommender):
    """A sequence recommender that keeps its network, item encoder included, after `fit`.

    Attributes:
        network: on the CPU, in evaluation mode.
    """

    network: SequenceNetwork

    def measure(self, network: SequenceNetwork, data: TrainingData) -> float:
        """NDCG@10 of a network of this shape on the validation cases; NaN where there are none."""
        if data.validation is None:
            return float("nan")
        regression = FreshRegression(data.knowledge, data.counts() > 0)
        was_training = network.training
        network.eval()
        self._adopt(network, data, regression)
        network.train(was_training)
        return ndcg_at_k(rank_cases(self.score, data.validation, k=0).ranks)

    def _adopt(
        self, network: SequenceNetwork, data: TrainingData, regression: FreshRegression
    ) -> None:
        super()._adopt(network, data, regression)
        self.network = network


def fit_with_knowledge(
    config: RecommenderConfig, training: TrainingConfig, data: TrainingData, folder: Path
) -> TunableRecommender:
    """Rec as it is before alignment; a killed training resumes from the folder.

    Raises:
        InputError: there is nothing to learn from, or the loss diverged.
    """
    return TunableRecommender(config, training).fit(data, folder)


def fit_without_knowledge(
    config: RecommenderConfig, training: TrainingConfig, data: TrainingData, folder: Path
) -> TunableRecommender:
    """Rec_f: the same over ids alone, which start as random numbers."""
    alone = config.model_copy(update={"id_init": "random", "knowledge_beside_ids": False})
    return TunableRecommender(alone, training).fit(replace(data, knowledge=None), folder)
