"""A training that another process does until it is killed."""

from __future__ import annotations

from pathlib import Path

from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from tests.offline.recommender.planted import planted_cycle

EPOCHS = 16


def new_model() -> SequenceRecommender:
    config = SasrecConfig(embedding_size=16, layers=1, heads=2, max_length=8, dropout=0.3)
    return SequenceRecommender(config, TrainingConfig(epochs=EPOCHS, patience=EPOCHS, batch_size=8))


def small_cycle(seed: int = 0) -> TrainingData:
    return planted_cycle(n_users=24, seed=seed)


def train(folder: Path) -> None:
    new_model().fit(small_cycle(), folder)
