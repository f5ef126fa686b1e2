"""Weights of events in training: purchases count for more than views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from offline.data.insertions import Insertions
from offline.data.split import Cases
from offline.metrics import ndcg_at_k, rank_cases
from offline.recommender.config import (
    Bert4recConfig,
    RecommenderConfig,
    SasrecConfig,
    TrainingConfig,
)
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender

SHAPE = {
    "embedding_size": 16,
    "max_length": 12,
    "layers": 1,
    "dropout": 0.0,
    "id_init": "random",
    "knowledge_beside_ids": False,
}
N_ITEMS, N_USERS, LENGTH = 40, 150, 12


def shop(seed: int = 0) -> tuple[TrainingData, Cases]:
    """A made shop: item x is followed by a view of 3x + 1 in two of three steps, else by a
    purchase of 7x + 5. The cases are histories that are followed by a purchase.
    """
    random = np.random.default_rng(seed)
    rows, weights, histories, targets = [], [], [], []
    for _ in range(N_USERS):
        items, of_items = [int(random.integers(N_ITEMS))], [1.0]
        for _ in range(LENGTH):
            is_bought = random.random() < 1 / 3
            follower = 7 * items[-1] + 5 if is_bought else 3 * items[-1] + 1
            items.append(follower % N_ITEMS)
            of_items.append(3.0 if is_bought else 1.0)
        rows.append(np.array(items, np.int32) + 1)
        weights.append(np.array(of_items, np.float32))
        last = int(random.integers(N_ITEMS))
        histories.append(np.array([last + 1], np.int32))
        targets.append((7 * last + 5) % N_ITEMS + 1)
    cases = Cases(
        np.arange(N_USERS, dtype=np.int32),
        np.arange(N_USERS + 1, dtype=np.int64),
        np.concatenate(histories),
        np.array(targets, np.int32),
    )
    unlike = cases.targets != cases.history_items
    return TrainingData(rows, N_ITEMS, weights=weights), cases.chosen(unlike)


def trained(data: TrainingData, config: RecommenderConfig | None = None) -> SequenceRecommender:
    training = TrainingConfig(epochs=12, batch_size=16, learning_rate=1e-2, warm_up_steps=5)
    model = SequenceRecommender(config or SasrecConfig(**SHAPE), training)
    return model.fit(data)


def test_purchases_weighted_above_views_are_predicted_better() -> None:
    data, purchases = shop()
    figures = {
        name: ndcg_at_k(rank_cases(trained(given).score, purchases, k=0).ranks)
        for name, given in (("weighted", data), ("alike", replace(data, weights=None)))
    }
    # Views are twice as frequent: unweighted, the purchase comes second.
    assert figures["weighted"] > figures["alike"] + 0.1


@pytest.mark.parametrize("config", [SasrecConfig(**SHAPE), Bert4recConfig(**SHAPE)])
def test_equal_weights_are_no_weights(config: RecommenderConfig) -> None:
    data, _ = shop()
    alike = [np.full(len(row), 3.0, np.float32) for row in data.sequences]
    with_weights = trained(replace(data, weights=alike), config)
    without = trained(replace(data, weights=None), config)
    assert np.array_equal(with_weights.item_table, without.item_table)
    assert not np.array_equal(trained(data, config).item_table, without.item_table)


def test_weights_go_with_their_items_past_insertions_and_among_some_users() -> None:
    sequences = [np.array(row, np.int32) for row in ([1, 2, 3], [4, 5], [6, 7, 8])]
    weights = [np.array(row, np.float32) for row in ([1, 2, 4], [1, 1], [9, 1, 2])]
    inserted = Insertions(*(np.array(column, np.int32) for column in ([0, 2], [1, 3], [30, 31])))
    data = TrainingData(sequences, 40, insertions=inserted, weights=weights)
    mean = np.mean([2, 4, 1, 1, 2])  # of all but the first of each, which nothing predicts
    assert [row.tolist() for row in data.read_sequences()] == [
        [1, -30, 2, 3],
        [4, 5],
        [6, 7, 8, -31],
    ]
    read = data.read_weights()
    assert read is not None
    np.testing.assert_allclose(
        np.concatenate(read) * mean, [1, 0, 2, 4, 1, 1, 9, 1, 2, 0], rtol=1e-6
    )
    some = data.of_users(np.array([2, 0]))
    assert some.weights is not None
    assert [row.tolist() for row in some.weights] == [[9, 1, 2], [1, 2, 4]]
