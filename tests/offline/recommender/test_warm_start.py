"""A training that begins with an earlier model's weights, also where the catalogue has grown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_store.id_map import IdMap
from offline.direct.config import MfConfig
from offline.direct.recommender import DirectRecommender
from offline.metrics import ndcg_at_k, rank_cases
from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from offline.recommender.warm_start import carried_rows
from tests.offline.recommender.planted import N_ITEMS, planted_cycle

TINY = SasrecConfig(embedding_size=16, layers=1, heads=2, max_length=8, dropout=0.1)
FIRST = TrainingConfig(epochs=8, patience=8, batch_size=16, learning_rate=5e-3, warm_up_steps=5)
STILL = FIRST.model_copy(update={"epochs": 1, "learning_rate": 1e-9, "weight_decay": 0.0})
IDS = IdMap([f"i{n}" for n in range(1, N_ITEMS + 1)])


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return planted_cycle()


@pytest.fixture(scope="module", params=[1, 2], ids=["one network", "two networks"])
def earlier(request: pytest.FixtureRequest, data: TrainingData) -> SequenceRecommender:
    config = TINY.model_copy(update={"members": request.param})
    return SequenceRecommender(config, FIRST).fit(data)


def begun(earlier: SequenceRecommender, data: TrainingData, ids: IdMap) -> TrainingData:
    return replace(data, start=earlier.warm_start(IDS, ids, data.knowledge))


def test_a_training_that_changes_nothing_gives_the_earlier_model(
    earlier: SequenceRecommender, data: TrainingData
) -> None:
    still = SequenceRecommender(earlier.config, STILL).fit(begun(earlier, data, IDS))
    np.testing.assert_allclose(still.item_table, earlier.item_table, atol=1e-5)
    histories = [data.validation.history(case) for case in range(5)]  # type: ignore[union-attr]
    np.testing.assert_allclose(still.score(histories), earlier.score(histories), atol=1e-3)


def test_it_is_ahead_of_a_cold_one_after_an_epoch(
    earlier: SequenceRecommender, data: TrainingData
) -> None:
    one = FIRST.model_copy(update={"epochs": 1})
    assert data.validation is not None
    warm, cold = (
        ndcg_at_k(
            rank_cases(
                SequenceRecommender(earlier.config, one).fit(some).score, data.validation
            ).ranks
        )
        for some in (begun(earlier, data, IDS), data)
    )
    assert warm > cold


def test_ids_that_are_anchored_begin_there_too(data: TrainingData) -> None:
    config = TINY.model_copy(update={"ids_anchored": True})
    earlier = SequenceRecommender(config, FIRST).fit(data)
    still = SequenceRecommender(config, STILL).fit(begun(earlier, data, IDS))
    np.testing.assert_allclose(still.item_table, earlier.item_table, atol=1e-5)


def test_items_keep_their_rows_wherever_they_are_numbered() -> None:
    table = np.array([[0, 0], [1, 1], [2, 2], [6, 6]], np.float32)
    projection = np.array([[10, 0], [0, 10], [1, 2]], np.float32)
    knowledge = np.array([[0, 0], [0.6, 0.8], [1, 0], [0, 1]], np.float32)
    known, ids = IdMap(["a", "b", "c"]), IdMap(["new", "c", "a"])
    rows, n_known = carried_rows(table, projection, known, ids, knowledge)
    # A new item stands where a service would place it: its vector, projected.
    np.testing.assert_allclose(rows, [[0, 0], [7, 10], [6, 6], [1, 1]], rtol=1e-6)
    assert n_known == 2
    # Without vectors the projection is the mean row alone; other vectors give the mean row too.
    mean_row = np.array([[3, 3]], np.float32)
    for other, vectors in ((mean_row, None), (projection, None)):
        rows, _ = carried_rows(table, other, known, ids, vectors)
        np.testing.assert_allclose(rows[1], [3, 3])


def test_the_start_is_in_the_fingerprint_of_a_checkpoint(
    earlier: SequenceRecommender, data: TrainingData, tmp_path: Path
) -> None:
    model = SequenceRecommender(earlier.config, FIRST)
    cold = model._fingerprint(data, ())
    assert model._fingerprint(begun(earlier, data, IDS), ()) != cold


def test_a_direct_model_is_no_start() -> None:
    assert DirectRecommender(MfConfig()).warm_start(IDS, IDS, None) is None
