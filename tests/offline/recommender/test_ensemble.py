"""Networks side by side: each learns alone, and together they answer as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_store.errors import ConfigError
from offline.data.histories import Items
from offline.metrics import hit_rate_at_k, rank_cases
from offline.recommender.config import (
    Bert4recConfig,
    RecommenderConfig,
    SasrecConfig,
    TrainingConfig,
)
from offline.recommender.criterion import Criterion
from offline.recommender.ensemble import EachMember, Ensemble, EnsembleItems, members_of
from offline.recommender.item_encoder import ItemEncoder
from offline.recommender.network import SequenceNetwork
from offline.recommender.objective import NextItem
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from tests.offline.recommender.planted import (
    N_ITEMS,
    cases_of,
    fresh_histories,
    planted_cycle,
    successor,
)

SHAPE: dict[str, Any] = {"embedding_size": 32, "members": 2, "max_length": 8, "dropout": 0.1}
TRAINING: dict[str, Any] = {
    "epochs": 30,
    "patience": 5,
    "batch_size": 16,
    "learning_rate": 5e-3,
    "warm_up_steps": 5,
}


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return planted_cycle()


@pytest.mark.parametrize(
    ("config", "choices"),
    [
        (SasrecConfig(**SHAPE), {}),
        (SasrecConfig(**SHAPE | {"knowledge_beside_ids": False, "ids_anchored": True}), {}),
        (SasrecConfig(**SHAPE), {"contrast_weight": 0.1, "sampled_negatives": 12}),
        pytest.param(
            *(Bert4recConfig(**SHAPE), {"epochs": 60, "patience": 20}), marks=pytest.mark.slow
        ),
    ],
    ids=["knowledge-beside", "anchored", "contrast", "bert4rec"],
)
def test_learns_the_planted_cycle(
    config: RecommenderConfig, choices: dict[str, Any], data: TrainingData, tmp_path: Path
) -> None:
    model = SequenceRecommender(config, TrainingConfig(**TRAINING | choices)).fit(data)
    histories = fresh_histories()
    cases = cases_of(histories, [successor(int(history[-1])) for history in histories])
    assert hit_rate_at_k(rank_cases(model.score, cases).ranks, 1) >= 0.9
    assert model.item_table.shape == (N_ITEMS + 1, 32)
    model.save(tmp_path)
    loaded = SequenceRecommender.load(tmp_path)
    np.testing.assert_array_equal(loaded.score(histories), model.score(histories))


def test_a_score_is_the_mean_of_the_members_scores(data: TrainingData) -> None:
    whole = SequenceRecommender(SasrecConfig(**SHAPE), TrainingConfig(epochs=3)).fit(data)
    assert isinstance(whole.backbone, Ensemble)
    scores = []
    for number, member in enumerate(whole.backbone.members):
        alone = SequenceRecommender(whole.config.of_member(), whole.training)
        alone.backbone = member
        alone.item_table = np.ascontiguousarray(whole.item_table[:, 16 * number : 16 * number + 16])
        scores.append(alone.score(fresh_histories()))
    # Equal members would be worth no more than one.
    assert np.abs(scores[0] - scores[1]).mean() > 0.1 * np.abs(scores[0]).mean()
    np.testing.assert_allclose(whole.score(fresh_histories()), np.mean(scores, axis=0), atol=1e-5)


def test_a_member_learns_as_if_it_were_alone(data: TrainingData) -> None:
    config = SasrecConfig(**SHAPE | {"dropout": 0.0})
    torch.manual_seed(0)
    parts = [ItemEncoder(N_ITEMS, 16, None, None) for _ in range(2)]
    backbones = [SequenceRecommender(config.of_member(), TrainingConfig()).backbone for _ in parts]
    network = SequenceNetwork(EnsembleItems(parts), Ensemble(backbones))
    objective = NextItem(Criterion(data.counts(), TrainingConfig()))
    windows: list[Items] = [np.asarray(sequence) for sequence in data.sequences[:16]]
    rng = np.random.default_rng(0)

    together = EachMember(objective).loss(network, windows, rng)
    together.backward()
    found = [part.ids.grad.clone() for part in parts if part.ids.grad is not None]
    losses = []
    for part, member in zip(parts, members_of(network), strict=True):
        part.ids.grad = None
        losses.append(objective.loss(member, windows, rng))
        losses[-1].backward()
        assert part.ids.grad is not None
        torch.testing.assert_close(found.pop(0), part.ids.grad / 2)
    assert together.item() == pytest.approx(np.mean([loss.item() for loss in losses]))


@pytest.mark.parametrize("phase", ["frozen", "further-ids"])
def test_every_members_ids_wait_while_they_are_frozen(phase: str, data: TrainingData) -> None:
    config = SasrecConfig(**SHAPE | {"knowledge_beside_ids": False})
    choices = {"epochs": 2, "batch_size": 16, "id_training": phase}
    model = SequenceRecommender(config, TrainingConfig(**choices)).fit(data)
    first, second = np.split(model.item_table, 2, axis=1)
    # Both start from the same text, and stay there until they are trained.
    assert np.array_equal(first, second) == (model.record.best_phase == "frozen")
    assert {epoch.phase for epoch in model.record.epochs} == (
        {"frozen"} if phase == "frozen" else {"frozen", "ids"}
    )


def test_a_refit_is_an_ensemble_too(data: TrainingData) -> None:
    model = SequenceRecommender(SasrecConfig(**SHAPE), TrainingConfig(epochs=2)).fit(data)
    again = model.refit(data)
    assert isinstance(again.backbone, Ensemble)
    assert len(again.record.epochs) == model.record.best_epoch


def test_contrast_is_for_causal_members(data: TrainingData) -> None:
    training = TrainingConfig(contrast_weight=0.1)
    with pytest.raises(ConfigError, match=r"contrast_weight = 0\.1: bert4rec is not causal"):
        SequenceRecommender(Bert4recConfig(**SHAPE), training).fit(data)


def test_a_lone_network_has_no_members() -> None:
    model = SequenceRecommender(SasrecConfig(embedding_size=16), TrainingConfig())
    lone = SequenceNetwork(ItemEncoder(N_ITEMS, 16, None, None), model.backbone)
    with pytest.raises(TypeError, match="Sasrec is no ensemble"):
        members_of(lone)
