"""Laws of every model; a new one inherits these tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model_store.errors import InputError
from offline.metrics import rank_cases
from offline.models import CONFIG, load_recommender
from offline.recommender.recommender import (
    PARITY_TOLERANCE,
    Baseline,
    Recommender,
    TrainingData,
    rank_unseen,
)
from tests.offline.recommender.planted import N_ITEMS, cases_of, fresh_histories, planted_cycle


class BaselineLaws:
    """Laws of every model that is measured. Subclasses create one."""

    def make(self) -> Baseline:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def data(self) -> TrainingData:
        return planted_cycle()

    @pytest.fixture(scope="class")
    def model(self, data: TrainingData) -> Baseline:
        return self.make().fit(data)

    def test_scores_have_a_column_for_every_item_and_are_finite(self, model: Baseline) -> None:
        scores = model.score(fresh_histories(7))
        assert scores.shape == (7, N_ITEMS + 1)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()

    def test_fitting_again_gives_the_same_model(self, model: Baseline, data: TrainingData) -> None:
        again = self.make().fit(data)
        np.testing.assert_array_equal(
            again.score(fresh_histories()), model.score(fresh_histories())
        )

    def test_loading_gives_the_saved_model(self, model: Baseline, tmp_path: Path) -> None:
        model.save(tmp_path / "model")
        loaded = type(model).load(tmp_path / "model")
        np.testing.assert_array_equal(
            loaded.score(fresh_histories()), model.score(fresh_histories())
        )

    def test_a_folder_without_a_model_is_rejected(self, model: Baseline, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=str(tmp_path)):
            type(model).load(tmp_path)

    def test_a_batch_scores_as_its_histories_do_alone(self, model: Baseline) -> None:
        histories = fresh_histories()
        alone = np.concatenate([model.score([history]) for history in histories])
        np.testing.assert_allclose(model.score(histories), alone, rtol=0, atol=2e-5)

    def test_an_empty_history_is_scored(self, model: Baseline) -> None:
        assert np.isfinite(model.score([np.zeros(0, np.int32)])).all()

    def test_seen_items_are_never_ranked(self, model: Baseline) -> None:
        histories = fresh_histories()
        best, scores = rank_unseen(model.score, histories, N_ITEMS)
        top = rank_cases(model.score, cases_of(histories, [1] * len(histories))).top
        for history, row, row_scores, shown in zip(histories, best, scores, top, strict=True):
            assert not set(row[row > 0]) & set(history)
            assert not set(shown[shown > 0]) & set(history)
            assert (row > 0).sum() == N_ITEMS - len(set(history))
            assert (np.diff(row_scores[row > 0]) <= 0).all()


class RecommenderLaws(BaselineLaws):
    """Laws of every model that is served."""

    def make(self) -> Recommender:
        raise NotImplementedError

    def test_a_saved_one_is_found_by_its_kind(self, model: Recommender, tmp_path: Path) -> None:
        model.save(tmp_path)
        loaded = load_recommender(tmp_path)
        assert type(loaded) is type(model)
        assert (loaded.kind, loaded.name, loaded.n_items) == (model.kind, model.name, N_ITEMS)
        assert loaded.record == model.record

    def test_a_kind_that_nobody_knows_is_named(self, model: Recommender, tmp_path: Path) -> None:
        model.save(tmp_path)
        described = json.loads((tmp_path / CONFIG).read_text())
        (tmp_path / CONFIG).write_text(json.dumps(described | {"kind": "oracle"}))
        with pytest.raises(InputError, match=f"^{tmp_path}.*kind 'oracle' is none of"):
            load_recommender(tmp_path)

    @pytest.mark.slow
    def test_exported_it_scores_as_it_does_and_by_its_users_vectors(
        self, model: Recommender, tmp_path: Path
    ) -> None:
        histories = [history[-model.max_length :] for history in fresh_histories()]
        exported = model.export(tmp_path, histories)
        wanted = model.score(histories)
        np.testing.assert_allclose(exported.score(histories), wanted, atol=PARITY_TOLERANCE)
        by_vectors = model.user_vectors(histories) @ exported.item_table.T
        np.testing.assert_allclose(by_vectors, wanted, rtol=0, atol=2e-5)
        table = np.load(tmp_path / "item_table.npy", allow_pickle=False)
        np.testing.assert_array_equal(table, exported.item_table)

    def test_only_the_last_items_count(self, model: Recommender) -> None:
        history = np.resize(np.arange(1, N_ITEMS + 1, dtype=np.int32), model.max_length + 5)
        last = history[-model.max_length :]
        np.testing.assert_array_equal(model.score([history]), model.score([last]))

    def test_refit_takes_as_many_epochs_as_proved_best(
        self, model: Recommender, data: TrainingData
    ) -> None:
        again = model.refit(data)
        assert again.record.n_trained == sum(model.record.kept_epochs())
        assert again.record.best_figure is None
        assert model.record.best_figure is not None
