"""Every architecture and every loss learns, is saved and is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.errors import ConfigError
from offline.evaluate.metrics import hit_rate_at_k, rank_cases
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
from offline.recommender.sequential import SequenceRecommender
from tests.offline.recommender.planted import cases_of, fresh_histories, planted_cycle, successor

SHAPE: dict[str, Any] = {"embedding_size": 16, "max_length": 8, "dropout": 0.1}
SASREC = SasrecConfig(**SHAPE)


@pytest.mark.parametrize(
    ("config", "choices"),
    [
        (Bert4recConfig(**SHAPE), {"epochs": 60}),
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
