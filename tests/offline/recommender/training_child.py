"""A training that another process does until it is killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from offline.training import trainer
from tests.offline.recommender.planted import planted_cycle

EPOCHS = 16
_WAIT_S = 120.0


def new_model() -> SequenceRecommender:
    config = SasrecConfig(embedding_size=16, layers=1, heads=2, max_length=8, dropout=0.3)
    return SequenceRecommender(config, TrainingConfig(epochs=EPOCHS, patience=EPOCHS, batch_size=8))


def small_cycle(seed: int = 0) -> TrainingData:
    return planted_cycle(n_users=24, seed=seed)


def wait_after_epoch(last: int) -> None:
    """Trainings of this process wait for a kill after so many epochs, however late it comes."""
    save = trainer.save_checkpoint

    def save_and_wait(path: Path, tensors: dict[str, Any], state: dict[str, Any]) -> None:
        save(path, tensors, state)
        if len(state["record"]["epochs"]) >= last:
            time.sleep(_WAIT_S)

    trainer.save_checkpoint = save_and_wait


def train(folder: Path, last: int) -> None:
    wait_after_epoch(last)
    new_model().fit(small_cycle(), folder)
