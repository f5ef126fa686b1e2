"""A share of the users trains; all are asked."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from tests.offline.recommender.planted import cases_of, fresh_histories, planted_cycle

TINY = SasrecConfig(embedding_size=16, layers=1, max_length=8, dropout=0.1)


def told_apart(n_users: int) -> TrainingData:
    """Each user has items of his own, so that one sees who was drawn."""
    sequences = [np.array([2 * u + 1, 2 * u + 2], np.int32) for u in range(n_users)]
    return TrainingData(sequences, 2 * n_users)


def users_of(data: TrainingData) -> list[int]:
    return [int(sequence[0]) // 2 for sequence in data.sequences]


@pytest.mark.parametrize("seed", [0, 1])
def test_shares_nest(seed: int) -> None:
    everyone = told_apart(150)
    drawn = [users_of(everyone.of_share(share, seed)) for share in (0.01, 0.1, 0.5, 1.0)]
    assert [len(users) for users in drawn] == [2, 15, 75, 150]
    for smaller, larger in pairwise(drawn):
        assert set(smaller) < set(larger)
        assert smaller == sorted(smaller)


def test_the_seed_draws() -> None:
    everyone = told_apart(150)
    first, again, other = (users_of(everyone.of_share(0.1, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_whole_share_changes_nothing() -> None:
    data = planted_cycle()
    assert data.of_share(1.0, 3) is data


def test_a_share_keeps_all_cases_and_the_items_knowledge() -> None:
    data = planted_cycle()
    drawn = data.of_share(0.1, 0)
    assert len(drawn.sequences) == 9
    assert drawn.validation is data.validation
    assert drawn.knowledge is data.knowledge
    assert drawn.n_items == data.n_items


def test_training_sees_the_share_alone() -> None:
    """Trained on a share it is the model of that share's sequences, chosen on all cases."""
    data = planted_cycle()
    training = TrainingConfig(epochs=3, batch_size=8, seed=2)
    drawn = data.of_share(0.2, 2)
    wanted = SequenceRecommender(TINY, training).fit(drawn)
    shared = training.model_copy(update={"share": 0.2})
    model = SequenceRecommender(TINY, shared).fit(data)
    np.testing.assert_array_equal(model.item_table, wanted.item_table)
    whole = SequenceRecommender(TINY, training).fit(data)
    assert not np.array_equal(model.item_table, whole.item_table)
    # A refit is on the same users.
    everything = replace(data, validation=None)
    np.testing.assert_array_equal(
        model.refit(everything).item_table,
        wanted.refit(replace(drawn, validation=None)).item_table,
    )


def test_items_that_lose_all_interactions_are_placed_by_their_text() -> None:
    everyone = told_apart(40)
    rng = np.random.default_rng(0)
    knowledge = rng.normal(size=(everyone.n_items + 1, 4)).astype(np.float32)
    knowledge[0] = 0.0
    histories = fresh_histories(3)
    validation = cases_of(histories, [4, 5, 6])
    data = replace(everyone, knowledge=knowledge, validation=validation)
    training = TrainingConfig(epochs=1, share=0.5)
    random_ids = TINY.model_copy(update={"id_init": "random"})
    model = SequenceRecommender(random_ids, training).fit(data)
    cold = data.of_share(0.5, 0).counts() == 0
    cold[0] = False
    assert cold.sum() == data.n_items / 2
    projected = np.hstack([knowledge, np.ones((len(knowledge), 1))]) @ model.fresh_projection
    np.testing.assert_allclose(model.item_table[cold], projected[cold], atol=1e-5)
    assert not np.allclose(model.item_table[1:][~cold[1:]], projected[1:][~cold[1:]], atol=1e-3)
    alone = SequenceRecommender(TINY, training).fit(replace(data, knowledge=None))
    assert len(np.unique(alone.item_table[cold], axis=0)) == 1
