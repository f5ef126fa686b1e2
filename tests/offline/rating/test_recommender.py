"""A rating network learns, repeats by its seed, resumes, and is exported as it predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from model_store.id_map import IdMap
from offline.rating.baselines import ItemMean, rmse
from offline.rating.config import RatingConfig
from offline.rating.export import export_model
from offline.rating.fields import MAX_VALUES, ItemFields
from offline.rating.graph import check_ratings, export_ratings
from offline.rating.network import MAX_RATED, rated_means
from offline.rating.ratings import Ratings, RatingSplit
from offline.rating.recommender import RatingRecommender
from offline.recommender.recommender import ParityError

N_USERS, N_ITEMS = 40, 30
NETWORKS = ("deepfm", "nfm", "dcn", "afm", "xdeepfm", "autoint")
CONFIGS: TypeAdapter[RatingConfig] = TypeAdapter(RatingConfig)


def config(network: str, **changes: object) -> RatingConfig:
    small = {"embedding_size": 4, "dropout": 0.0, "batch_size": 64, "weight_decay": 0.01}
    return CONFIGS.validate_python(
        {"network": network, **small, "learning_rate": 0.02, "epochs": 3, **changes}
    )


@pytest.fixture(scope="module")
def split() -> RatingSplit:
    """Users of two tastes and items of two genres, which means of items can't tell apart."""
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(1, N_USERS + 1) for i in range(1, N_ITEMS + 1)]
    users, items = np.array(pairs, np.int32).T
    values = (3 + np.where((users + items) % 2, 1, -1) + rng.normal(0, 0.2, len(pairs))).astype(
        np.float32
    )
    every, parts = Ratings(users, items, values), rng.integers(0, 10, len(pairs))
    chosen = (parts < 8, parts == 8, parts == 9)
    return RatingSplit(*(every.chosen(part) for part in chosen))


@pytest.fixture(scope="module")
def fields() -> ItemFields:
    values = np.zeros((1, N_ITEMS + 1, MAX_VALUES), np.int32)
    values[0, 1:, 0] = 1 + np.arange(1, N_ITEMS + 1) % 2
    return ItemFields(("genre",), values)


def fitted(split: RatingSplit, fields: ItemFields, network: str, **changes: object):  # type: ignore[no-untyped-def]
    model = RatingRecommender(config(network, **changes))
    return model.fit(split.train, split.validation, fields, N_USERS)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_learn_what_means_cannot_and_are_exported_as_they_predict(
    split: RatingSplit, fields: ItemFields, tmp_path: Path, network: str
) -> None:
    model = fitted(split, fields, network, epochs=8, patience=8)
    mean = ItemMean().fit(split, N_USERS, N_ITEMS).predict(split.test)
    error = rmse(model.predict(split.test), split.test.values)
    assert error < 0.7 * rmse(mean, split.test.values)
    ids = IdMap([f"i{i}" for i in range(1, N_ITEMS + 1)])
    user_ids = [f"u{u}" for u in range(1, N_USERS + 1)]
    report = export_model(model, user_ids, ids, tmp_path, max_ranked=100)
    assert report.max_difference <= 1e-4
    assert report.n_checked == N_USERS


@pytest.mark.slow
def test_another_graph_than_the_models_is_told(
    split: RatingSplit, fields: ItemFields, tmp_path: Path
) -> None:
    model, other = fitted(split, fields, "nfm"), fitted(split, fields, "nfm", seed=1)
    exported = export_ratings(other, tmp_path / "model.onnx")
    with pytest.raises(ParityError, match="ratings differ from torch's"):
        check_ratings(model, exported, np.array([1], np.int32))


def test_a_seed_repeats_and_another_one_does_not(split: RatingSplit, fields: ItemFields) -> None:
    first, again, other = (fitted(split, fields, "deepfm", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.predict(split.test), again.predict(split.test))
    assert not np.array_equal(first.predict(split.test), other.predict(split.test))


def test_a_saved_model_predicts_the_same(
    split: RatingSplit, fields: ItemFields, tmp_path: Path
) -> None:
    model = fitted(split, fields, "autoint")
    model.save(tmp_path)
    again = RatingRecommender.load(tmp_path)
    assert np.array_equal(again.predict(split.test), model.predict(split.test))
    assert (again.scale, again.record) == (model.scale, model.record)


def test_an_interrupted_training_goes_on_to_the_same_model(
    split: RatingSplit, fields: ItemFields, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from offline.rating.training import RatingTraining

    whole, validate = fitted(split, fields, "dcn", epochs=4), RatingTraining.validate

    def stop(task: RatingTraining) -> float | None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(None)
        return validate(task)

    calls: list[None] = []
    monkeypatch.setattr(RatingTraining, "validate", stop)
    model = RatingRecommender(config("dcn", epochs=4))
    with pytest.raises(KeyboardInterrupt):
        model.fit(split.train, split.validation, fields, N_USERS, tmp_path)
    monkeypatch.setattr(RatingTraining, "validate", validate)
    model.fit(split.train, split.validation, fields, N_USERS, tmp_path)
    assert np.array_equal(model.predict(split.test), whole.predict(split.test))


def test_a_refit_runs_the_epochs_that_proved_best(split: RatingSplit, fields: ItemFields) -> None:
    model = fitted(split, fields, "nfm")
    again = model.refit(split.train.with_all(split.test), fields, N_USERS)
    assert again.record.n_trained == model.record.best_epoch
    assert again.record.best_figure is None


def test_the_last_rated_items_of_each_user_are_meant_alike() -> None:
    n = MAX_RATED + 5
    ratings = Ratings(
        np.repeat(np.array([2, 1], np.int32), [n, 2]),
        np.concatenate([np.arange(1, n + 1), [3, 9]]).astype(np.int32),
        np.ones(n + 2, np.float32),
    )
    means = rated_means(ratings, 3, n).toarray()
    assert means[1].nonzero()[0].tolist() == [3, 9]
    assert means[2].nonzero()[0].tolist() == list(range(6, n + 1))
    assert means.sum(axis=1).tolist() == pytest.approx([0, 1, 1, 0])
