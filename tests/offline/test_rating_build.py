"""A recipe of kind rating is built into a bundle that answers as its network predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.model.arrays import NO_ITEMS
from app.model.model import load_model
from model_store.bundle import Bundle
from model_store.errors import ConfigError, InputError
from model_store.held_out import HeldOutRatings
from offline.build import Build
from offline.inputs import find_source
from offline.rating.figures import RatingFigures
from offline.rating.ratings import Ratings
from offline.rating.recommender import RatingRecommender
from offline.recipe import Recipe, read_recipe
from tests.offline.rating.tiny_files import N_ITEMS, N_USERS, write_rated_files

RECIPE = Recipe.model_validate(
    {"description": "tiny", "kind": "rating", "rating": {"network": "nfm", "epochs": 1}}
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rated_files(tmp_path_factory.mktemp("rated"))


def build(files: Path, root: Path, recipe: Recipe = RECIPE, **choices: object) -> Path:
    source = find_source(str(files / "ratings.csv"), str(files / "items.csv"), None)
    lines: list[str] = []
    return Build(source, recipe, root, log=lines.append, **choices).run()  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_bundle_answers_as_the_network_predicts(files: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(build(files, tmp_path))
    assert (bundle.manifest.kind, bundle.manifest.n_users) == ("rating", N_USERS)
    assert set(bundle.manifest.metrics) == {"rmse", "mae"}
    served, trained = load_model(bundle).rating, RatingRecommender.load(tmp_path / "rating")
    assert served is not None
    items = np.arange(1, N_ITEMS + 1, dtype=np.int32)
    asked = Ratings(np.full_like(items, 3), items, np.zeros(N_ITEMS, np.float32))
    row = served.user_row("u2", NO_ITEMS)
    assert row is not None
    assert served.rate(row, items) == pytest.approx(trained.predict(asked), abs=1e-4)
    report = bundle.report()
    assert next(iter(report["models"])) == "nfm"
    assert report["models"]["nfm"]["test"]["all"]["rmse"] == bundle.manifest.metrics["rmse"]
    held_out = HeldOutRatings.of(bundle)
    assert held_out is not None
    rows = [
        served.user_row(bundle.histories().user_ids[user - 1], NO_ITEMS) for user in held_out.users
    ]
    rated = [served.rate(row, held_out.items[n : n + 1])[0] for n, row in enumerate(rows)]
    figures = RatingFigures.of(np.array(rated, np.float32), held_out.values)
    test = report["models"]["nfm"]["test"]["all"]
    assert (figures.rmse, figures.mae) == pytest.approx((test["rmse"], test["mae"]), abs=1e-5)
    assert figures.n == test["n"]
    assert "| biased MF |" in (tmp_path / "rating_evaluate" / "report.md").read_text()
    lines: list[str] = []
    source = find_source(str(files / "ratings.csv"), str(files / "items.csv"), None)
    Build(source, RECIPE, tmp_path, log=lines.append).run()
    assert [line for line in lines if line.endswith("running")] == []


@pytest.mark.slow
def test_a_refit_learns_from_the_held_out_ratings_too(files: Path, tmp_path: Path) -> None:
    plain, refitted = (
        Bundle.open(build(files, tmp_path / name, refit=refit))
        for name, refit in (("plain", False), ("refit", True))
    )
    assert not np.array_equal(plain.rating_arrays.user_table, refitted.rating_arrays.user_table)
    assert refitted.popularity.sum() > plain.popularity.sum()
    assert refitted.manifest.metrics == plain.manifest.metrics


def test_splits_that_do_not_fit_the_kind_are_rejected(files: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--split random holds ratings out"):
        build(files, tmp_path, read_recipe("ids"), split="random")


def test_interactions_without_ratings_are_rejected(files: Path, tmp_path: Path) -> None:
    rows = (files / "ratings.csv").read_text().splitlines()
    cut = [",".join([*row.split(",")[:2], row.split(",")[3]]) for row in rows]
    (tmp_path / "ratings.csv").write_text("\n".join(cut))
    (tmp_path / "items.csv").write_text((files / "items.csv").read_text())
    with pytest.raises(InputError, match="have no ratings to predict"):
        build(tmp_path, tmp_path / "build")


@pytest.mark.parametrize(
    ("kind", "table", "message"),
    [
        ("rating", "training", r"nothing reads \[training\] \(it reads data, completion, rating\)"),
        ("sequential", "rating", r"kind = 'sequential': nothing reads \[rating\]"),
    ],
)
def test_tables_of_another_kind_are_rejected(kind: str, table: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe.model_validate({"description": "x", "kind": kind, table: {"seed": 1}})


@pytest.mark.parametrize("name", ["deepfm", "nfm", "dcn", "afm", "xdeepfm", "autoint"])
def test_each_network_has_a_recipe(name: str) -> None:
    recipe = read_recipe(name)
    assert (recipe.kind, recipe.rating.network) == ("rating", name)
