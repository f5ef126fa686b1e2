"""`longtail evaluate` of a rating bundle: its report, and the same figures through a service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longtail
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import BundleError
from model_store.held_out import HELD_OUT_FILES, HELD_OUT_ITEMS, HeldOutRatings
from model_store.publication import publish
from model_store.registry import Registry
from model_store.store import connect
from tests.app.conftest import publish_and_activate, settings_for
from tests.app.listening import listening
from tests.synthetic_bundle import make_bundle, make_catalogue
from tests.synthetic_ratings import SCALE, SyntheticRatings, make_rating_bundle


def held_out_of(ratings: SyntheticRatings) -> HeldOutRatings:
    """Forty ratings, in no order; some are of one user, and some of one user and item."""
    random = np.random.default_rng(0)
    users = random.integers(1, len(ratings.made.histories) + 1, 40).astype(np.int32)
    items = random.integers(1, len(ratings.made.ids) + 1, 40).astype(np.int32)
    users[5:9], items[5:7] = 2, 3
    return HeldOutRatings(users, items, random.integers(1, 6, 40).astype(np.float32))


def make_measured(folder: Path, version: str, wrong: float = 0.0) -> Bundle:
    """A bundle with held-out ratings, and the report of them, of which RMSE is wrong by so much."""
    ratings = SyntheticRatings(make_catalogue())
    held_out = held_out_of(ratings)
    predicted = [
        ratings.predictions(ratings.users[user]).clip(*SCALE)[item]
        for user, item in zip(held_out.users, held_out.items, strict=True)
    ]
    errors = np.array(predicted) - held_out.values
    test = {"rmse": float(np.sqrt(np.mean(errors**2))) + wrong, "mae": float(np.abs(errors).mean())}
    report = {"split": "random", "models": {"made": {"test": {"all": test}}}}
    return make_rating_bundle(folder, version=version, held_out=held_out, report=report)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_measured(tmp_path_factory.mktemp("rated") / "rated-1", "rated-1")


@pytest.fixture(scope="module")
def url(
    store: EmbeddedStore, built: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A service with a sequential default, and the built version as `ratings`."""
    folder = tmp_path_factory.mktemp("service")
    with connect(store.url) as client, pytest.MonkeyPatch.context() as patch:
        client.flushall()
        publish_and_activate(make_bundle(folder / "made-1"), folder, store.url)
        version = publish(built, folder / "bundles", client).version
        Registry(client, model="ratings").activate(version)
        patch.setenv("LONGTAIL_REDIS_URL", store.url)
        patch.setenv("LONGTAIL_BUNDLES_DIR", str(folder / "bundles"))
        with listening(settings_for(store.url, folder)) as running:
            yield f"http://127.0.0.1:{running.port}"


def evaluate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = longtail.main(["evaluate", *words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_service_is_as_good_as_the_report_says(
    url: str, built: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = evaluate(capsys, "--url", url, "--model", "ratings", "--json")
    found: dict[str, Any] = json.loads(out)
    assert (status, found["equal"]) == (0, True)
    assert found["offline"] == built.report()["models"]["made"]["test"]["all"]
    assert found["served"] == pytest.approx(found["offline"], abs=1e-5)
    assert (found["ratings"], found["versions"]) == (40, ["rated-1"])
    status, out, _ = evaluate(capsys, "--url", url, "--model", "ratings")
    assert status == 0
    assert out.endswith("equal to four decimals\n")


def test_a_report_of_other_figures_is_not_equal(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = str(make_measured(tmp_path / "other", "other", wrong=2e-4).folder)
    status, out, _ = evaluate(capsys, "--bundle", other, "--url", url, "--model", "ratings")
    assert status == 1
    assert "NOT equal to four decimals" in out


def test_without_a_service_the_report_is_shown(
    url: str, built: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("--bundle", str(built.folder)), ("--model", "ratings")):
        status, out, _ = evaluate(capsys, *words)
        assert status == 0
        test = built.report()["models"]["made"]["test"]["all"]
        assert out.splitlines()[-1].split() == ["made", *(f"{one:.4f}" for one in test.values())]


def test_a_name_under_which_nothing_answers_is_one_line(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = evaluate(capsys, "--url", url, "--model", "stars")
    assert status == 1
    assert "--model 'stars'" in err
    assert "(names: default, ratings)" in err
    status, _, err = evaluate(capsys, "--url", url, "--model", "ratings", "--rerank")
    assert status == 1
    assert "--rerank measures the default's recommendations alone" in err


def test_a_bundle_without_held_out_ratings_cannot_be_measured(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As those of releases that wrote none."""
    folder = make_rating_bundle(tmp_path / "old", version="old").folder
    status, _, err = evaluate(capsys, "--bundle", str(folder), "--url", url, "--model", "ratings")
    assert status == 1
    assert "holds no held-out ratings to ask for; build it again" in err


def test_held_out_ratings_of_other_items_are_rejected(built: Bundle, tmp_path: Path) -> None:
    for name in HELD_OUT_FILES:
        (tmp_path / name).write_bytes((built.folder / name).read_bytes())
    items = np.load(tmp_path / HELD_OUT_ITEMS)
    items[0] = built.manifest.n_items + 1
    np.save(tmp_path / HELD_OUT_ITEMS, items)
    with pytest.raises(BundleError, match=r"held_out_items\.npy: holds .*, expected 1 to"):
        HeldOutRatings.of(Bundle(tmp_path, built.manifest))
