"""What is trained when: frozen ids, and training on from frozen ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offline.data.histories import cut_windows
from offline.metrics import ndcg_at_k, rank_cases
from offline.recommender.config import (
    Bert4recConfig,
    CaserConfig,
    Gru4recConfig,
    HstuConfig,
    LightsansConfig,
    PaupConfig,
    RecommenderConfig,
    SasrecConfig,
    TrainingConfig,
)
from offline.recommender.criterion import Criterion
from offline.recommender.network import SequenceNetwork
from offline.recommender.phases import phases_of
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from offline.recommender.text_projection import project_text
from offline.recommender.training import SequenceTraining, plan_training
from offline.training.checkpoint import load_checkpoint
from offline.training.record import Epoch, TrainingRecord
from offline.training.trainer import Phase, Trainer
from tests.offline.recommender.planted import N_ITEMS, fresh_histories, planted_cycle

SHAPE: dict[str, Any] = {
    "embedding_size": 16,
    "max_length": 8,
    "dropout": 0.1,
    "text_projection": "pca",
    "knowledge_beside_ids": False,
}
SASREC = SasrecConfig(**SHAPE, layers=1)
BACKBONES: tuple[RecommenderConfig, ...] = (
    SASREC,
    Bert4recConfig(**SHAPE, layers=1),
    Gru4recConfig(**SHAPE, hidden_size=24),
    CaserConfig(**SHAPE, window=4, horizontal_filters=4),
    HstuConfig(**SHAPE, layers=1),
    LightsansConfig(**SHAPE, layers=1),
    PaupConfig(**SHAPE, layers=1),
)
LOSSES: tuple[dict[str, Any], ...] = (
    {},
    {"sampled_negatives": 12},
    {"loss": "gbce", "sampled_negatives": 12},
    {"loss": "bce"},
    {"contrast_weight": 0.1},
)
CHOICES = [(config, {}) for config in BACKBONES] + [(SASREC, loss) for loss in LOSSES[1:]]


def training(**choices: Any) -> TrainingConfig:
    usual = {"epochs": 3, "patience": 2, "batch_size": 16, "warm_up_steps": 5}
    return TrainingConfig(**usual | {"learning_rate": 5e-3, "weight_decay": 0.1} | choices)


def weights_of(model: SequenceRecommender) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.backbone.state_dict().items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(weights, other[name]) for name, weights in one.items())


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return planted_cycle()


Fitted = Callable[..., tuple[SequenceRecommender, dict[str, np.ndarray]]]


@pytest.fixture(scope="module")
def fitted(data: TrainingData) -> Fitted:
    """Models that several tests compare with, each trained once, and their first weights."""
    models: dict[str, tuple[SequenceRecommender, dict[str, np.ndarray]]] = {}

    def fit(
        config: RecommenderConfig, **choices: Any
    ) -> tuple[SequenceRecommender, dict[str, np.ndarray]]:
        plan = training(**choices)
        key = config.model_dump_json() + plan.model_dump_json()
        if key not in models:
            model = SequenceRecommender(config, plan)
            first = weights_of(model)
            models[key] = model.fit(data), first
        return models[key]

    return fit


def name_of(part: Any) -> str:
    return getattr(part, "backbone", None) or "-".join(map(str, part.values())) or "softmax"


@pytest.mark.parametrize(("config", "choices"), CHOICES, ids=name_of)
def test_frozen_ids_stay_bit_for_bit(
    config: RecommenderConfig, choices: dict[str, Any], data: TrainingData, fitted: Fitted
) -> None:
    model, before = fitted(config, id_training="frozen", **choices)
    start = project_text(data.knowledge, 16, "pca") * np.float32(config.id_std)
    np.testing.assert_array_equal(model.item_table, start)
    assert not same(weights_of(model), before)
    assert {epoch.phase for epoch in model.record.epochs} == {"frozen"}


@pytest.mark.parametrize(("config", "choices"), CHOICES, ids=name_of)
def test_further_training_goes_on_from_the_best_frozen_weights(
    config: RecommenderConfig, choices: dict[str, Any], data: TrainingData, fitted: Fitted
) -> None:
    frozen, _ = fitted(config, id_training="frozen", **choices)
    ids = SequenceRecommender(config, training(id_training="further-ids", **choices)).fit(data)
    n_frozen = len(frozen.record.epochs)
    losses = [epoch.loss for epoch in ids.record.epochs]
    assert losses[:n_frozen] == [epoch.loss for epoch in frozen.record.epochs]
    assert [epoch.phase for epoch in ids.record.epochs[n_frozen:]] == ["ids"] * (
        len(losses) - n_frozen
    )
    assert len(losses) > n_frozen
    # The network is that of the best frozen epoch, whichever epoch was kept.
    assert same(weights_of(ids), weights_of(frozen))
    assert np.array_equal(ids.item_table, frozen.item_table) == (ids.record.best_phase == "frozen")


def test_further_training_of_everything_changes_everything(
    data: TrainingData, fitted: Fitted
) -> None:
    frozen, _ = fitted(SASREC, id_training="frozen", patience=3)
    further, _ = fitted(SASREC, id_training="further-all", patience=3)
    assert further.record.best_phase == "all"
    assert further.record.best_figure > frozen.record.best_figure
    assert not np.array_equal(further.item_table, frozen.item_table)
    assert not same(weights_of(further), weights_of(frozen))
    assert ndcg_at_k(rank_cases(further.score, data.validation).ranks) == max(
        epoch.figure for epoch in further.record.epochs
    )


def test_a_phase_begins_with_the_best_weights_and_not_the_last(data: TrainingData) -> None:
    """With validation figures that fall after the second epoch the third one's weights go."""
    seen: list[dict[str, torch.Tensor]] = []

    class Watched(SequenceTraining):
        def begin(self, phase: str) -> None:
            super().begin(phase)
            seen.append({n: t.clone() for n, t in self.module.state_dict().items()})

    kept: list[dict[str, torch.Tensor]] = []
    figures = iter([0.1, 0.3, 0.2, 0.1, 0.1, 0.25])
    model = SequenceRecommender(SASREC, training(id_training="further-all", patience=1, epochs=3))

    def validate(network: Any) -> float:
        kept.append({n: t.clone() for n, t in network.state_dict().items()})
        return next(figures)

    network = SequenceNetwork(model._new_item_encoder(data), model._new_backbone())
    objective = model._new_objective(network.backbone, Criterion(data.counts(), model.training))
    windows = cut_windows(data.sequences, 8)
    task = Watched(network, objective, windows, model.training.batch_size, validate)
    plan = plan_training(model.training, phases_of(model.training))
    record = Trainer("training", task, plan).run()
    assert [epoch.phase for epoch in record.epochs] == ["frozen"] * 3 + ["all"] * 2
    assert all(torch.equal(seen[1][name], kept[1][name]) for name in kept[1])
    assert record.best_epoch == 2  # the second phase never reached .3
    assert all(torch.equal(t, kept[1][name]) for name, t in network.state_dict().items())


def test_ids_next_to_knowledge_are_frozen_and_the_projection_is_not(data: TrainingData) -> None:
    config = SASREC.model_copy(update={"knowledge_beside_ids": True})
    model = SequenceRecommender(config, training(id_training="frozen")).fit(data)
    start = project_text(data.knowledge, 16, "pca") * np.float32(config.id_std)
    assert not np.allclose(model.item_table, start, atol=1e-3)
    further = SequenceRecommender(config, training(id_training="further-ids")).fit(data)
    assert same(weights_of(further), weights_of(model))


def record_of(*phases: tuple[str, list[float | None]]) -> TrainingRecord:
    record = TrainingRecord()
    for phase, figures in phases:
        for ndcg in figures:
            record.add(Epoch(len(record.epochs) + 1, 1.0, ndcg, 0.1, 0.1, phase))
    return record


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (record_of(("all", [0.1, 0.3, 0.2])), [2]),
        (record_of(("frozen", [0.1, 0.3, 0.2]), ("all", [0.2, 0.1])), [2]),
        (record_of(("frozen", [0.1, 0.3, 0.2]), ("all", [0.2, 0.4, 0.1])), [2, 2]),
        (record_of(("frozen", [0.3, 0.1, 0.1]), ("ids", [0.4])), [1, 1]),
        (record_of(("frozen", [None, None]), ("ids", [None])), [2, 1]),
        (TrainingRecord(), []),
    ],
)
def test_the_kept_epochs_are_those_of_the_kept_weights(
    record: TrainingRecord, kept: list[int]
) -> None:
    assert record.kept_epochs() == kept
    assert TrainingRecord.from_dict(record.to_dict()) == record


def test_epochs_of_phases() -> None:
    config = training(id_training="further-ids", epochs=7)
    assert phases_of(config) == (Phase("frozen", 7), Phase("ids", 7))
    assert phases_of(config, [3, 2]) == (Phase("frozen", 3), Phase("ids", 2))
    assert phases_of(config, [3]) == (Phase("frozen", 3), Phase("ids", 0))
    assert phases_of(training(), [4]) == (Phase("all", 4),)


@pytest.mark.parametrize("kept", [[3, 2], [3]])
def test_refit_takes_as_many_epochs_of_each_phase(data: TrainingData, kept: list[int]) -> None:
    chosen = SequenceRecommender(SASREC, training(id_training="further-all"))
    chosen.record = record_of(("frozen", [0.1, 0.2, 0.3]), ("all", [0.2, 0.4 * (len(kept) - 1)]))
    refitted = chosen.refit(data)
    phases = [epoch.phase for epoch in refitted.record.epochs]
    assert phases == ["frozen"] * kept[0] + ["all"] * sum(kept[1:])
    assert refitted.record.best_epoch == len(phases)
    start = project_text(data.knowledge, 16, "pca") * np.float32(SASREC.id_std)
    assert np.array_equal(refitted.item_table, start) == (len(kept) == 1)


def test_anchored_ids_end_nearer_to_where_they_started(data: TrainingData) -> None:
    start = project_text(data.knowledge, 16, "pca") * np.float32(SASREC.id_std)
    likeness = []
    for anchored in (False, True):
        config = SASREC.model_copy(update={"ids_anchored": anchored})
        model = SequenceRecommender(config, training(weight_decay=5.0, epochs=6)).fit(data)
        likeness.append(np.corrcoef(model.item_table.ravel(), start.ravel())[0, 1])
    assert likeness[0] < likeness[1] - 0.05
    config = SASREC.model_copy(update={"ids_anchored": True})
    frozen = SequenceRecommender(config, training(id_training="frozen")).fit(data)
    np.testing.assert_array_equal(frozen.item_table, start)


@pytest.mark.parametrize("stopped_after", [2, 3, 4, 5])
@pytest.mark.parametrize("how", ["further-all", "further-ids"])
def test_stopped_in_either_phase_it_becomes_the_same_model(
    data: TrainingData, how: str, stopped_after: int, tmp_path: Path, fitted: Fitted
) -> None:
    wanted, _ = fitted(SASREC, id_training=how, patience=3)
    assert len(wanted.record.epochs) == 6
    model = SequenceRecommender(SASREC, training(id_training=how, patience=3))
    score, validations = model.score, []

    def stopping(histories: Any) -> Any:
        # One batch of one case is scored first in each validation.
        validations.append(len(histories) == 1)
        if sum(validations) > stopped_after:
            raise KeyboardInterrupt
        return score(histories)

    model.score = stopping  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        model.fit(data, tmp_path)
    found = load_checkpoint(tmp_path / "training.safetensors")
    assert found is not None
    assert len(found[1]["record"]["epochs"]) == stopped_after
    again = SequenceRecommender(SASREC, training(id_training=how, patience=3)).fit(data, tmp_path)
    compared = [
        [(e.number, e.loss, e.figure, e.phase) for e in m.record.epochs] for m in (again, wanted)
    ]
    assert compared[0] == compared[1]
    first = [epoch.train_s for epoch in again.record.epochs[:stopped_after]]
    assert first == [epoch["train_s"] for epoch in found[1]["record"]["epochs"]]
    np.testing.assert_array_equal(again.item_table, wanted.item_table)
    np.testing.assert_array_equal(again.score(fresh_histories()), wanted.score(fresh_histories()))


def test_frozen_places_untrained_items_where_their_texts_are(data: TrainingData) -> None:
    """The projection is linear in the vectors, so the regression finds it."""
    sequences = [np.array([i for i in s if i != 5], np.int32) for s in data.sequences]
    cold = replace(data, sequences=sequences)
    model = SequenceRecommender(SASREC, training(id_training="frozen")).fit(cold)
    start = project_text(data.knowledge, 16, "pca") * np.float32(SASREC.id_std)
    apart = np.linalg.norm(model.item_table[5] - start, axis=1)[1:]
    assert int(apart.argmin()) + 1 == 5
    assert data.n_items == N_ITEMS
