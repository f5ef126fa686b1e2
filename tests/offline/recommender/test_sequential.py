"""Every architecture and every loss learns, is saved and is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from model_store.errors import ConfigError
from offline.metrics import hit_rate_at_k, rank_cases
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
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from tests.offline.recommender.planted import cases_of, fresh_histories, planted_cycle, successor

SHAPE: dict[str, Any] = {"embedding_size": 16, "max_length": 8, "dropout": 0.1}
SASREC = SasrecConfig(**SHAPE)


@pytest.mark.parametrize(
    ("config", "choices"),
    [
        pytest.param(
            *(Bert4recConfig(**SHAPE), {"epochs": 60, "patience": 20}), marks=pytest.mark.slow
        ),
        (Gru4recConfig(**SHAPE, hidden_size=24), {}),
        (CaserConfig(**SHAPE, window=4, horizontal_filters=4), {}),
        (HstuConfig(**SHAPE), {}),
        (LightsansConfig(**SHAPE), {}),
        (PaupConfig(**SHAPE), {}),
        (SASREC, {"contrast_weight": 0.1}),
        (SASREC, {"loss": "gbce", "sampled_negatives": 12}),
        (SASREC, {"loss": "bce", "epochs": 60}),
    ],
    ids=lambda part: getattr(part, "backbone", None) or "-".join(map(str, part.values())),
)
def test_learns_the_planted_cycle(
    config: RecommenderConfig, choices: dict[str, Any], tmp_path: Path
) -> None:
    usual = {"epochs": 30, "patience": 5, "batch_size": 16, "learning_rate": 5e-3}
    training = TrainingConfig(**usual | {"warm_up_steps": 5} | choices)
    model = SequenceRecommender(config, training).fit(planted_cycle())
    histories = fresh_histories()
    cases = cases_of(histories, [successor(int(history[-1])) for history in histories])
    assert hit_rate_at_k(rank_cases(model.score, cases).ranks, 1) >= 0.9
    model.save(tmp_path)
    loaded = SequenceRecommender.load(tmp_path)
    assert loaded.name == config.backbone
    np.testing.assert_array_equal(loaded.score(histories), model.score(histories))


def test_contrast_is_for_causal_networks() -> None:
    training = TrainingConfig(contrast_weight=0.1)
    with pytest.raises(ConfigError, match=r"contrast_weight = 0\.1: bert4rec is not causal"):
        SequenceRecommender(Bert4recConfig(**SHAPE), training).fit(planted_cycle())


@pytest.mark.parametrize(
    "backbone", ["sasrec", "bert4rec", "gru4rec", "caser", "hstu", "lightsans", "paup"]
)
def test_no_weight_starts_as_a_copy_of_an_id(backbone: str) -> None:
    n_items = 2000
    walks = np.random.default_rng(0).permuted(np.tile(np.arange(1, n_items + 1), (2, 1)), axis=1)
    data = TrainingData(list(walks.astype(np.int32)), n_items, None, None)
    shape = SHAPE | {"knowledge_beside_ids": False, "id_init": "random"}
    config = TypeAdapter(RecommenderConfig).validate_python(shape | {"backbone": backbone})
    model = SequenceRecommender(config, TrainingConfig(epochs=1, learning_rate=1e-12))
    model.fit(data)
    ids = model.item_table[1:] / np.linalg.norm(model.item_table[1:], axis=1, keepdims=True)
    for name, weights in model.backbone.named_parameters():
        for rows in (weights, weights.mT) if weights.ndim == 2 else ():
            if rows.shape[1] == ids.shape[1]:
                found = rows.detach().numpy()
                found = found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-6)
                # 16 random numbers come to .95 at most among so many.
                assert np.abs(found @ ids.T).max() < 0.99, name
