"""Vectors that are read in parts are those of the recommender itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offline import user_vectors as module
from offline.engine.local import LocalEngine
from offline.engine.rows import Rows
from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.sequential import SequenceRecommender
from offline.user_vectors import user_vectors
from tests.offline.recommender.planted import planted_cycle


def test_parts_change_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_USERS", 64)
    config = SasrecConfig(embedding_size=16, max_length=8, dropout=0.1)
    model = SequenceRecommender(config, TrainingConfig(epochs=1)).fit(planted_cycle())
    model.save(tmp_path / "model")
    rng = np.random.default_rng(0)
    histories = [rng.integers(1, 12, rng.integers(1, 12)).astype(np.int32) for _ in range(150)]
    parts = tmp_path / "parts"
    for fingerprint in ("one", "one", "another"):
        vectors = user_vectors(
            tmp_path / "model", fingerprint, Rows.of(histories), LocalEngine(1), parts
        )
        np.testing.assert_array_equal(vectors, model.user_vectors(histories))
    # The second run found the first one's parts; another recommender's are others.
    assert len(list(parts.glob("*.parquet"))) == 6
