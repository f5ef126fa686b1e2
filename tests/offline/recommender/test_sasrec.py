from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model_store.errors import ConfigError, InputError
from offline.metrics import hit_rate_at_k, ndcg_at_k, rank_cases
from offline.recommender.baselines import Popularity
from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from tests.offline.recommender.laws import BaselineLaws, RecommenderLaws
from tests.offline.recommender.planted import cases_of, fresh_histories, planted_cycle, successor

TINY = SasrecConfig(embedding_size=16, layers=2, heads=2, max_length=8, dropout=0.1)
QUICK = TrainingConfig(epochs=30, patience=5, batch_size=16, learning_rate=5e-3, warm_up_steps=5)


class SequenceLaws(BaselineLaws):
    def test_finds_the_planted_successor(self, model: SequenceRecommender) -> None:
        histories = fresh_histories()
        cases = cases_of(histories, [successor(int(history[-1])) for history in histories])
        assert hit_rate_at_k(rank_cases(model.score, cases).ranks, 1) >= 0.9

    def test_another_seed_gives_another_model(self, model: SequenceRecommender, data) -> None:
        other = self.make()
        other.training = other.training.model_copy(update={"seed": 1, "epochs": 1})
        other.fit(data)
        assert not np.array_equal(other.item_table, model.item_table)

    def test_training_leaves_the_callers_random_state_alone(self, data: TrainingData) -> None:
        torch.manual_seed(5)
        wanted = torch.rand(3)
        torch.manual_seed(5)
        quick = self.make()
        quick.training = quick.training.model_copy(update={"epochs": 1})
        quick.fit(data)
        assert torch.equal(torch.rand(3), wanted)

    def test_the_best_epochs_weights_are_kept(self, model: SequenceRecommender, data) -> None:
        figures = [epoch.figure for epoch in model.record.epochs]
        assert model.record.best_epoch == int(np.argmax(figures)) + 1
        assert ndcg_at_k(rank_cases(model.score, data.validation).ranks) == max(figures)


class TestSasrecWithKnowledge(SequenceLaws, RecommenderLaws):
    def make(self) -> SequenceRecommender:
        return SequenceRecommender(TINY, QUICK)


class TestSasrecOfIdsAlone(SequenceLaws):
    @pytest.fixture(scope="class")
    def data(self) -> TrainingData:
        return replace(planted_cycle(), knowledge=None)

    def make(self) -> SequenceRecommender:
        return SequenceRecommender(TINY, QUICK)


class TestSasrecWithSampledNegatives(SequenceLaws):
    def make(self) -> SequenceRecommender:
        return SequenceRecommender(TINY, QUICK.model_copy(update={"sampled_negatives": 12}))


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return planted_cycle()


def test_refit_trains_on_everything_for_the_chosen_epochs(data: TrainingData) -> None:
    chosen = SequenceRecommender(TINY, QUICK.model_copy(update={"epochs": 3})).fit(data)
    pairs = zip(data.sequences, data.validation.targets, strict=True)
    longer = [np.append(sequence, target).astype(np.int32) for sequence, target in pairs]
    everything = TrainingData(longer, data.n_items, knowledge=data.knowledge)
    refitted = chosen.refit(everything)
    assert len(refitted.record.epochs) == chosen.record.best_epoch
    epochs = QUICK.model_copy(update={"epochs": chosen.record.best_epoch})
    by_hand = SequenceRecommender(TINY, epochs).fit(everything)
    np.testing.assert_array_equal(refitted.item_table, by_hand.item_table)
    assert not np.array_equal(refitted.item_table, chosen.item_table)


def test_knowledge_teaches_what_ids_cannot(data: TrainingData) -> None:
    """An item that nobody touched, with the knowledge of one that follows, ranks as that one."""
    twin_of = 7
    knowledge = np.vstack([data.knowledge, data.knowledge[twin_of]])
    grown = TrainingData(data.sequences, data.n_items + 1, data.validation, knowledge)
    model = SequenceRecommender(TINY, QUICK).fit(grown)
    histories = [np.array([twin_of - 2, twin_of - 1], np.int32)]
    scores = model.score(histories)[0]
    order = np.argsort(-scores[1:]) + 1
    assert set(order[:3]) >= {twin_of, data.n_items + 1}
    fresh_row = np.append(knowledge[-1], 1.0) @ model.fresh_projection
    np.testing.assert_allclose(model.item_table[-1], fresh_row, atol=1e-5)


def test_without_knowledge_untrained_items_get_the_mean_row(data: TrainingData) -> None:
    grown = TrainingData(data.sequences, data.n_items + 2, data.validation, None)
    model = SequenceRecommender(TINY, QUICK.model_copy(update={"epochs": 1})).fit(grown)
    assert model.fresh_projection.shape == (1, TINY.embedding_size)
    mean = model.item_table[1:-2].mean(axis=0)
    np.testing.assert_allclose(model.item_table[-2:], [mean, mean], atol=1e-6)
    assert not model.item_table[0].any()


def test_early_stopping_waits_for_patience(data: TrainingData) -> None:
    training = QUICK.model_copy(update={"epochs": 500, "patience": 4})
    record = SequenceRecommender(TINY, training).fit(data).record
    assert len(record.epochs) == record.best_epoch + 4


def test_data_without_anything_to_learn_is_rejected(data: TrainingData) -> None:
    lonely = TrainingData([np.array([1], np.int32), np.zeros(0, np.int32)], n_items=3)
    with pytest.raises(InputError, match="two or more training interactions"):
        SequenceRecommender(TINY, QUICK).fit(lonely)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_named(data: TrainingData) -> None:
    with pytest.raises(ConfigError, match="cuda"):
        SequenceRecommender(TINY, QUICK.model_copy(update={"device": "cuda"})).fit(data)


def test_a_damaged_model_is_rejected(data: TrainingData, tmp_path: Path) -> None:
    model = SequenceRecommender(TINY, QUICK.model_copy(update={"epochs": 1})).fit(data)
    model.save(tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match="saved sasrec model"):
        SequenceRecommender.load(tmp_path)
    with pytest.raises(InputError, match="not a saved array"):
        Popularity.load(tmp_path)
