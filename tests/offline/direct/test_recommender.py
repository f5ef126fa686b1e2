"""Every direct model keeps the laws of a recommender, and learns which items go together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_store.errors import InputError
from offline.data.histories import Histories
from offline.direct.config import DirectConfig, LightgcnConfig, MfConfig, MixgcfConfig, SglConfig
from offline.direct.graph import Graph
from offline.direct.networks import Sgl, new_network
from offline.direct.recommender import DirectRecommender
from offline.direct.triples import Triples
from offline.metrics import hit_rate_at_k, rank_cases
from offline.recommender.baselines import Popularity
from offline.recommender.recommender import TrainingData
from offline.training.trainer import Trainer
from tests.offline.recommender.laws import RecommenderLaws
from tests.offline.recommender.planted import N_ITEMS, cases_of, planted_cycle

QUICK: dict[str, Any] = {
    "embedding_size": 8,
    "max_length": 20,
    "epochs": 12,
    "patience": 4,
    "batch_size": 64,
    "learning_rate": 0.05,
}
GROUPS = 3


def groups(n_users: int = 60) -> TrainingData:
    """Everybody takes items of one third of the catalogue; the last of them is held out."""
    rng = np.random.default_rng(0)
    size = N_ITEMS // GROUPS
    drawn = [
        (rng.permutation(size)[:6] + 1 + size * (user % GROUPS)).astype(np.int32)
        for user in range(n_users)
    ]
    validation = cases_of([row[:-1] for row in drawn], [int(row[-1]) for row in drawn])
    return TrainingData([row[:-1] for row in drawn], N_ITEMS, validation)


def newcomers() -> Histories:
    size = N_ITEMS // GROUPS
    return [np.arange(1, 4, dtype=np.int32) + size * group for group in range(GROUPS)]


class DirectLaws(RecommenderLaws):
    config: DirectConfig

    def make(self) -> DirectRecommender:
        return DirectRecommender(self.config)

    def test_unknown_users_get_items_of_their_group(self) -> None:
        model = self.make().fit(groups())
        size = N_ITEMS // GROUPS
        for group, history in enumerate(newcomers()):
            scores = model.score([history])[0]
            own = np.arange(1, size + 1) + size * group
            others = np.setdiff1d(np.arange(1, N_ITEMS + 1), own)
            assert np.setdiff1d(own, history).size == size - 3
            assert scores[np.setdiff1d(own, history)].min() > np.sort(scores[others])[-2]

    def test_it_is_above_popularity_on_held_out_items(self) -> None:
        data = groups()
        model, popularity = self.make().fit(data), Popularity().fit(data)
        hit_rates = [
            hit_rate_at_k(rank_cases(each.score, data.validation, k=0).ranks, 5)
            for each in (model, popularity)
        ]
        assert hit_rates[0] > 2 * hit_rates[1]


class TestMf(DirectLaws):
    config = MfConfig(**QUICK)


class TestLightgcn(DirectLaws):
    config = LightgcnConfig(**QUICK, layers=2)


class TestSgl(DirectLaws):
    config = SglConfig(**QUICK, layers=2)


class TestMixgcf(DirectLaws):
    config = MixgcfConfig(**QUICK, layers=2, candidates=4)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("config", [TestMf.config, TestSgl.config], ids=["mf", "sgl"])
def test_a_training_that_was_killed_becomes_the_same_model(
    config: DirectConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(planted_cycle(), knowledge=None)
    wanted = DirectRecommender(config).fit(data)
    close = Trainer._close_epoch

    def kill_after_two(self: Trainer, number: int, *rest: Any) -> None:
        close(self, number, *rest)
        if number == 2:
            raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(Trainer, "_close_epoch", kill_after_two)
        DirectRecommender(config).fit(data, tmp_path)
    model = DirectRecommender(config).fit(data, tmp_path)
    assert model.record.n_trained == wanted.record.n_trained > 2
    np.testing.assert_array_equal(model.item_table, wanted.item_table)
    assert model.fold_in.penalty == wanted.fold_in.penalty


def test_mf_has_the_loss_of_its_vectors_as_they_are() -> None:
    graph = Graph.of_sequences([np.array([1, 2], np.int32)], 3)
    network = new_network(MfConfig(embedding_size=4, regularisation=0.5), graph)
    vectors = np.array([[1, 0, 0, 0], [0] * 4, [2, 0, 0, 0], [0, 1, 0, 0], [0.5, 0, 1, 0]])
    with torch.no_grad():
        network.embedding.copy_(torch.from_numpy(vectors))
    one = np.array([0], np.int64)
    loss = network.loss(Triples(one, one + 1, (one + 3)[:, None]), np.random.default_rng(0))
    # Scores 2 and 0.5; squared lengths 1, 4 and 1.25.
    expected = -np.log(1 / (1 + np.exp(-1.5))) + 0.5 * (1 + 4 + 1.25) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_views_are_drawn_anew_for_every_epoch() -> None:
    graph = Graph.of_sequences(planted_cycle().sequences, N_ITEMS)
    network = new_network(TestSgl.config, graph)
    assert isinstance(network, Sgl)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(2):
        network.begin_epoch(rng)
        drawn += [view.to_dense() for view in network._views]
    for number, view in enumerate(drawn):
        assert not any(torch.equal(view, other) for other in drawn[number + 1 :])


def test_interactions_of_different_weights_are_named() -> None:
    data = planted_cycle()
    weights = [np.linspace(1, 2, len(row), dtype=np.float32) for row in data.sequences]
    with pytest.raises(InputError, match="different weights, and mf takes all alike"):
        DirectRecommender(TestMf.config).fit(replace(data, weights=weights))


@pytest.mark.parametrize("sequences", [[], [np.arange(1, 4, dtype=np.int32)]])
def test_nothing_to_learn_from_is_named(sequences: list[Any]) -> None:
    with pytest.raises(InputError, match="nothing to learn from"):
        DirectRecommender(TestMf.config).fit(TrainingData(sequences, n_items=3))
