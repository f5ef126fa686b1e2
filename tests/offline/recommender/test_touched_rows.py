"""Training that reads and changes a few rows of the item table in each step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from model_store.errors import ConfigError
from offline.recommender.config import (
    Bert4recConfig,
    RecommenderConfig,
    SasrecConfig,
    TrainingConfig,
)
from offline.recommender.fresh import FreshRegression
from offline.recommender.item_encoder import ItemEncoder
from offline.recommender.negatives import IndependentSampler, inclusion_probabilities
from offline.recommender.phases import phases_of
from offline.recommender.sequential import SequenceRecommender
from offline.recommender.touched_rows import TouchedCriterion
from offline.recommender.training import SequenceTraining, plan_training
from offline.training.trainer import Trainer
from tests.offline.recommender.planted import N_ITEMS, planted_cycle

SHAPE: dict[str, Any] = {"embedding_size": 16, "max_length": 8, "dropout": 0.0, "layers": 1}
USUAL: dict[str, Any] = {
    "table_updates": "sparse",
    "sampled_negatives": 6,
    "epochs": 2,
    "batch_size": 8,
    "weight_decay": 0.1,
    "warm_up_steps": 3,
}
CASES: list[tuple[RecommenderConfig, dict[str, Any]]] = [
    (SasrecConfig(**SHAPE), {}),
    (SasrecConfig(**SHAPE, ids_anchored=True), {}),
    (SasrecConfig(**SHAPE, knowledge_beside_ids=False), {"sampled_negatives": 999}),
    (SasrecConfig(**SHAPE, knowledge_beside_ids=False), {"loss": "gbce"}),
    (Bert4recConfig(**SHAPE), {}),
]


class WholeTable:
    """The task of a sparse training over the whole table: dense gradients of the same loss.

    After each step the rows that it didn't read, and their moments, are put back.
    """

    def __init__(self, task: SequenceTraining, optimizer_of: Any) -> None:
        self.task, self.module, self._optimizer_of = task, task.module, optimizer_of
        assert isinstance(self.module.items, ItemEncoder)
        self.ids = self.module.items.ids
        self.unread: np.ndarray | None = None

    def begin(self, phase: str) -> None:
        self.task.begin(phase)

    def batches(self, rng: np.random.Generator) -> Any:
        return self.task.batches(rng)

    def loss(self, batch: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        self.put_back()
        task = self.task
        criterion = task._objective.criterion
        windows = [task._windows[row] for row in batch]
        read = [0, *np.abs(np.concatenate(windows)), *criterion.draw(rng)]
        self.unread = np.setdiff1d(np.arange(N_ITEMS + 1), read)
        self.before = self.ids.detach().clone()
        state = self._optimizer_of().state[self.ids]
        self.moments = {name: state[name].clone() for name in state if name != "step"}
        return task._objective.loss(task.module, windows, rng)

    def put_back(self) -> None:
        if self.unread is None:
            return
        state = self._optimizer_of().state[self.ids]
        with torch.no_grad():
            self.ids[self.unread] = self.before[self.unread]
            for name in ("exp_avg", "exp_avg_sq"):
                state[name][self.unread] = self.moments[name][self.unread] if self.moments else 0.0

    def validate(self) -> None:
        self.put_back()
        self.unread = None


def new_task(config: RecommenderConfig, training: TrainingConfig) -> SequenceTraining:
    data = planted_cycle(n_users=40)
    regression = FreshRegression(data.knowledge, data.counts() > 0)
    return SequenceRecommender(config, training)._new_task(data, regression)


@pytest.mark.parametrize(("config", "choices"), CASES)
def test_it_is_the_dense_training_of_the_rows_that_a_step_reads(
    config: RecommenderConfig, choices: dict[str, Any]
) -> None:
    training = TrainingConfig.model_validate(USUAL | choices)
    plan = plan_training(training, phases_of(training))
    sparse, dense = new_task(config, training), new_task(config, training)
    sparse._validate = None
    found = Trainer("sparse", sparse, plan).run()
    holder: list[Trainer] = []
    whole = WholeTable(dense, lambda: holder[0]._optimizer)
    holder.append(Trainer("dense", whole, plan))
    wanted = holder[0].run()
    np.testing.assert_allclose(
        [epoch.loss for epoch in found.epochs], [epoch.loss for epoch in wanted.epochs], rtol=1e-5
    )
    for name, parameter in dense.module.named_parameters():
        torch.testing.assert_close(
            sparse.module.get_parameter(name), parameter, atol=1e-5, rtol=1e-5, msg=name
        )


def test_the_gradient_has_the_rows_that_were_read() -> None:
    task = new_task(SasrecConfig(**SHAPE), TrainingConfig.model_validate(USUAL))
    task.begin("all")
    task.loss(np.array([0, 1]), np.random.default_rng(0)).backward()
    assert isinstance(task.module.items, ItemEncoder)
    gradient = task.module.items.ids.grad
    assert gradient is not None
    assert gradient.is_sparse
    criterion = task._objective.criterion
    assert isinstance(criterion, TouchedCriterion)
    negatives = criterion.draw(np.random.default_rng(0))
    read = {0, *task._windows[0].tolist(), *task._windows[1].tolist(), *negatives.tolist()}
    assert set(gradient.coalesce().indices()[0].tolist()) == read
    assert len(task.module.items()) == N_ITEMS + 1  # a step later the table is whole


def test_it_learns_and_resumes(tmp_path: Path) -> None:
    training = TrainingConfig.model_validate(
        USUAL | {"epochs": 12, "patience": 12, "learning_rate": 1e-2, "weight_decay": 0.0}
    )
    config, data = SasrecConfig(**SHAPE), planted_cycle(n_users=60)
    whole = SequenceRecommender(config, training).fit(data)
    assert whole.record.best_figure is not None
    assert whole.record.best_figure > 0.8
    # Killed after five epochs: the checkpoint of a training of as many is that of the longer one.
    saved: list[bytes] = []
    recommender = SequenceRecommender(config, training)
    score = recommender.score

    def stop_at_the_sixth(histories: Any) -> Any:
        path = tmp_path / "training.safetensors"
        if path.exists():
            saved.append(path.read_bytes())
        if len(set(saved)) == 5:
            raise KeyboardInterrupt
        return score(histories)

    recommender.score = stop_at_the_sixth  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        recommender.fit(data, tmp_path)
    resumed = SequenceRecommender(config, training).fit(data, tmp_path)
    np.testing.assert_array_equal(resumed.item_table, whole.item_table)
    assert [e.loss for e in resumed.record.epochs] == [e.loss for e in whole.record.epochs]


def test_items_are_drawn_with_the_probabilities_of_the_other_sampler() -> None:
    counts = np.array([1, 1, 4, 9, 10_000, 100, 1, 16], dtype=np.int64)
    sampler, rng, n_draws = IndependentSampler(counts, 3), np.random.default_rng(0), 6_000
    times, pairs = np.zeros(len(counts)), np.zeros((len(counts), len(counts)))
    for _ in range(n_draws):
        rows, logs = sampler.draw(rng)
        assert len(set(rows.tolist())) == len(rows)
        times[rows] += 1
        pairs[np.ix_(rows, rows)] += 1
    expected = inclusion_probabilities(counts**0.5, 3)
    np.testing.assert_allclose(times / n_draws, expected, atol=0.025)
    np.testing.assert_allclose(np.exp(logs), expected[rows], rtol=1e-5)
    # Each by itself: two are drawn together as often as their probabilities say.
    apart = ~np.eye(len(counts), dtype=bool)
    np.testing.assert_allclose(
        (pairs / n_draws)[apart], np.outer(expected, expected)[apart], atol=0.025
    )


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"sampled_negatives": 0}, "sampled_negatives of 1 or more, not 0"),
        ({"weight_averaging": 1.5}, r"weight_averaging 1\.5 works only with table_updates dense"),
        ({"contrast_weight": 0.1}, r"contrast_weight 0\.1 works only with table_updates dense"),
    ],
)
def test_what_reads_the_whole_table_is_rejected(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingConfig.model_validate(USUAL | choices)


def test_an_ensemble_is_rejected() -> None:
    config = SasrecConfig(**SHAPE | {"embedding_size": 32}, members=2)
    with pytest.raises(ConfigError, match=r"works with recommender\.members 1, not 2"):
        SequenceRecommender(config, TrainingConfig.model_validate(USUAL)).fit(planted_cycle())
