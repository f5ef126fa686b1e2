"""Laws of every recommender; a new one inherits these tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_store.errors import InputError
from offline.metrics import rank_cases
from offline.recommender.recommender import Recommender, TrainingData, rank_unseen
from tests.offline.recommender.planted import N_ITEMS, cases_of, fresh_histories, planted_cycle


class RecommenderLaws:
    """Subclasses create a model."""

    def make(self) -> Recommender:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def data(self) -> TrainingData:
        return planted_cycle()

    @pytest.fixture(scope="class")
    def model(self, data: TrainingData) -> Recommender:
        return self.make().fit(data)

    def test_scores_have_a_column_for_every_item_and_are_finite(self, model: Recommender) -> None:
        scores = model.score(fresh_histories(7))
        assert scores.shape == (7, N_ITEMS + 1)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()

    def test_fitting_again_gives_the_same_model(
        self, model: Recommender, data: TrainingData
    ) -> None:
        again = self.make().fit(data)
        np.testing.assert_array_equal(
            again.score(fresh_histories()), model.score(fresh_histories())
        )

    def test_loading_gives_the_saved_model(self, model: Recommender, tmp_path: Path) -> None:
        model.save(tmp_path / "model")
        loaded = type(model).load(tmp_path / "model")
        np.testing.assert_array_equal(
            loaded.score(fresh_histories()), model.score(fresh_histories())
        )

    def test_a_folder_without_a_model_is_rejected(self, model: Recommender, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=str(tmp_path)):
            type(model).load(tmp_path)

    def test_a_batch_scores_as_its_histories_do_alone(self, model: Recommender) -> None:
        histories = fresh_histories()
        alone = np.concatenate([model.score([history]) for history in histories])
        np.testing.assert_allclose(model.score(histories), alone, rtol=0, atol=2e-5)

    def test_an_empty_history_is_scored(self, model: Recommender) -> None:
        assert np.isfinite(model.score([np.zeros(0, np.int32)])).all()

    def test_seen_items_are_never_ranked(self, model: Recommender) -> None:
        histories = fresh_histories()
        best, scores = rank_unseen(model.score, histories, N_ITEMS)
        top = rank_cases(model.score, cases_of(histories, [1] * len(histories))).top
        for history, row, row_scores, shown in zip(histories, best, scores, top, strict=True):
            assert not set(row[row > 0]) & set(history)
            assert not set(shown[shown > 0]) & set(history)
            assert (row > 0).sum() == N_ITEMS - len(set(history))
            assert (np.diff(row_scores[row > 0]) <= 0).all()
