"""Trainings that are watched step by step, in one process or in several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from offline.recommender.config import (
    Bert4recConfig,
    RecommenderConfig,
    SasrecConfig,
    TrainingConfig,
)
from offline.recommender.fresh import FreshRegression
from offline.recommender.phases import phases_of
from offline.recommender.sequential import SequenceRecommender
from offline.recommender.training import plan_training
from offline.training.trainer import Trainer
from tests.offline.recommender.planted import planted_cycle

SHAPE: dict[str, Any] = {"embedding_size": 16, "max_length": 8, "dropout": 0.0, "layers": 1}
USUAL: dict[str, Any] = {"epochs": 2, "batch_size": 8, "weight_decay": 0.1, "warm_up_steps": 3}
SAMPLED = {"sampled_negatives": 6}
SPARSE = SAMPLED | {"table_updates": "sparse"}
CASES: dict[str, tuple[RecommenderConfig, dict[str, Any]]] = {
    "whole catalogue": (SasrecConfig(**SHAPE), {"weight_averaging": 1.0}),
    "sampled": (SasrecConfig(**SHAPE), SAMPLED),
    "sharded": (SasrecConfig(**SHAPE), SPARSE),
    "sharded ids alone": (SasrecConfig(**SHAPE, knowledge_beside_ids=False), SPARSE),
    "sharded, anchored": (SasrecConfig(**SHAPE, ids_anchored=True), SPARSE | {"loss": "gbce"}),
    "gbce": (SasrecConfig(**SHAPE), {"loss": "gbce"} | SAMPLED),
    "bce": (SasrecConfig(**SHAPE), {"loss": "bce"}),
    "hidden items": (Bert4recConfig(**SHAPE), SAMPLED),
    "contrast": (SasrecConfig(**SHAPE), {"contrast_weight": 0.1}),
    "two phases": (SasrecConfig(**SHAPE), {"id_training": "further-ids"}),
    "members": (SasrecConfig(**SHAPE | {"embedding_size": 32, "members": 2}), {}),
}
N_USERS = 41
"""Of which the last batch has one alone: less than a row for each process."""


class Watched(Trainer):
    """Notes the loss and all weights after each step."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.losses: list[float] = []
        self.weights: list[torch.Tensor] = []

    def _run_step(self, *arguments: Any) -> float:
        self.losses.append(super()._run_step(*arguments))
        module = self.task.module
        named = module.named_parameters()
        parameters = [p for name, p in named if not name.endswith("ids")]
        parameters.append(module.items())  # the table, whole where its rows are sharded
        self.weights.append(torch.cat([p.detach().flatten() for p in parameters]))
        return self.losses[-1]


def watch(case: str) -> dict[str, np.ndarray]:
    """Losses and weights of each step, and the figures by which the epoch was chosen."""
    config, choices = CASES[case]
    training = TrainingConfig.model_validate(USUAL | choices)
    model, data = SequenceRecommender(config, training), planted_cycle(N_USERS)
    task = model._new_task(data, FreshRegression(data.knowledge, data.counts() > 0))
    trainer = Watched("training", task, plan_training(training, phases_of(training)))
    record = trainer.run()
    return {
        "losses": np.array(trainer.losses),
        "weights": torch.stack(trainer.weights).numpy(),
        "figures": np.array([epoch.figure for epoch in record.epochs]),
        "best": np.array(record.best_epoch),
    }


def watch_all(rank: int, folder: Path) -> None:
    for case in CASES:
        np.savez(folder / f"{case} {rank}.npz", **watch(case))
