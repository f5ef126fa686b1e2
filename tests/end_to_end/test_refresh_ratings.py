"""A version that predicts ratings is refreshed with those that were given since."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longtail
from model_store.bundle import Bundle
from model_store.codecs import Event
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError
from model_store.people import forget
from model_store.registry import Registry
from model_store.store import connect
from offline.evaluate.bundle_ratings import BundleRatings
from offline.event_archive.archive import EventArchive, Logged
from offline.inputs import Source
from offline.rating.ratings import Ratings
from offline.refresh.choices import Choices
from offline.refresh.command import refresh
from offline.refresh.refresh import Refresh
from offline.refresh.running import KEPT_MODELS
from tests.app.conftest import serving, settings_for

pytestmark = pytest.mark.slow

RECIPE = """
description = "a small network, for tests"
kind = "rating"

[rating]
network = "deepfm"
embedding_size = 4
hidden = [8]
dropout = 0.0
epochs = 30
patience = 30
batch_size = 64
learning_rate = 0.02
weight_decay = 0.01
"""
N_USERS, N_ITEMS, N_OLD, N_RATED = 50, 24, 9, 18
OLD_S, NEW_S = 1_600_000_000, 1_700_000_000
FORGOTTEN = "u7"


def rows() -> Iterator[tuple[str, str, float, int]]:
    """Two tastes and two kinds of items; the first ratings of each user are old."""
    rng = np.random.default_rng(0)
    for user in range(N_USERS):
        for step, item in enumerate(rng.permutation(N_ITEMS)[:N_RATED].tolist()):
            rating = 3 + (1 if (user + item) % 2 else -1) + round(rng.normal(0, 0.3))
            is_old = step < N_OLD
            # Some rate an item that only events name.
            named = "added" if item == 0 and not is_old else f"i{item}"
            at_s = (OLD_S if is_old else NEW_S) + 1_000 * step + user
            yield f"u{user}", named, float(min(5, max(1, rating))), at_s


@dataclass
class Shop:
    """A build, and where things are."""

    folder: Path
    said: list[str] = field(default_factory=list)

    def choices(self, **changes: Any) -> Choices:
        build, events = self.folder / "build", self.folder / "events"
        source = Source(self.folder / "old.csv", self.folder / "items.csv", "item", events=events)
        return replace(Choices(source, build / "refresh", build), **changes)

    def refresh(self, **changes: Any) -> dict[str, Any]:
        self.said.clear()
        return Refresh(self.choices(**changes), self.said.append).run()


@pytest.fixture(scope="module")
def shop(store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    old = [row for row in rows() if row[3] < NEW_S]
    lines = [",".join(map(str, row)) for row in old]
    (folder / "old.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *lines]))
    items = [f"i{n},Thing {n},{'odd' if n % 2 else 'even'}" for n in range(N_ITEMS)]
    (folder / "items.csv").write_text("\n".join(["item_id,title,kind", *items]))
    (folder / "tiny.toml").write_text(RECIPE)
    archive = EventArchive(folder / "events")
    with archive.locked():
        archive.add([
            Logged(user, Event(item, at_s, rating), at_s * 1_000_000)
            for user, item, rating, at_s in rows()
            if at_s >= NEW_S
        ])  # fmt: skip
    with connect(store.url) as client, pytest.MonkeyPatch.context() as patch:
        client.flushall()
        patch.setenv("LONGTAIL_REDIS_URL", str(store.url))
        patch.setenv("LONGTAIL_BUNDLES_DIR", str(folder / "bundles"))
        flags = ["--interactions", str(folder / "old.csv"), "--items", str(folder / "items.csv")]
        flags += ["--recipe", str(folder / "tiny.toml"), "--out", str(folder / "build")]
        assert longtail.main(["build", *flags, "--refit", "--activate"]) == 0
        forget(FORGOTTEN, client)
        yield Shop(folder)


def active(store: EmbeddedStore) -> str:
    with connect(store.url) as client:
        found = Registry(client).active()
    assert found is not None
    return found


def test_too_few_users_are_declined_before_anything_is_trained(shop: Shop, tmp_path: Path) -> None:
    report = shop.refresh(root=tmp_path / "refresh", holdout=0.01)
    assert report["outcome"] == "declined"
    assert "30 are needed to tell" in report["reason"]
    assert not any(line.startswith("rating:") for line in shop.said)


def test_a_worse_model_is_not_published(shop: Shop) -> None:
    """Random weights and an epoch."""
    elsewhere = shop.folder / "elsewhere"
    report = shop.refresh(root=elsewhere / "refresh", built=elsewhere, epochs=1)
    assert (report["outcome"], report["version"]) == ("declined", None)
    assert report["comparison"]["all"]["word"] in {"worse", "undecided"}
    assert report["training"]["start"].startswith("random weights")


def test_answers_are_no_evidence(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--exposures: what people were shown tells nothing"):
        shop.refresh(root=tmp_path / "refresh", exposures=tmp_path)


def test_the_running_version_is_asked_as_its_service_would_be(
    shop: Shop, store: EmbeddedStore
) -> None:
    bundle = Bundle.open(shop.folder / "bundles" / active(store))
    users = ["u1", "somebody", "nobody"]
    asked = [*bundle.item_ids.ids[:6], "unknown"]
    ids = bundle.item_ids.extended(["unknown"])
    ratings = BundleRatings(bundle, users, ids)
    before = Ratings(np.full(3, 2, np.int32), np.array([3, 9, 4], np.int32), np.ones(3, np.float32))
    with serving(settings_for(store.url, shop.folder)) as http:
        for item in before.items.tolist():
            event = {"user_id": "somebody", "item_id": ids.id_of(item)}
            assert http.post("/events", json=event).status_code == 200
        for number, user in enumerate(users, start=1):
            answer = http.post("/ratings", json={"user_id": user, "item_ids": asked}).json()
            items = np.array([ids.index_of(one) for one in asked], np.int32)
            pairs = Ratings(np.full(7, number, np.int32), items, np.zeros(7, np.float32))
            found = ratings.predict(pairs, before)
            expected = [one["rating"] for one in answer["ratings"]]
            assert found.tolist() == pytest.approx(expected, abs=1e-4), user


def test_what_is_not_worse_is_published_and_promoted(shop: Shop, store: EmbeddedStore) -> None:
    before = active(store)
    models = shop.folder / "build" / "refresh" / "models"
    for number in range(KEPT_MODELS + 1):
        (models / f"older-{number}").mkdir(parents=True)
    report = shop.refresh(promote=True)
    kept = {one.name for one in models.iterdir()}
    assert {before, report["version"]} < kept
    assert len(kept) == KEPT_MODELS
    assert (report["outcome"], report["version"]) == ("promoted", active(store))
    comparison = report["comparison"]
    assert comparison["evidence"] == "ratings"
    assert comparison["all"]["word"] in {"better", "not worse"}
    assert comparison["all"]["candidate"] < comparison["all"]["running"]
    assert report["training"]["start"] == f"the weights of {before}"
    folder = shop.folder / "build" / "refresh"
    page = (folder / "runs" / f"{report['number']:04d}" / "report.md").read_text()
    assert "Decided by **the newest ratings**" in page
    assert f"squared error {comparison['all']['candidate']:.4f}" in page
    metrics = (folder / "refresh.prom").read_text()
    assert 'longtail_refresh_squared_error{model="candidate"} ' in metrics
    assert 'longtail_refresh_evidence{by="ratings"} 1' in metrics
    assert "longtail_refresh_ndcg" not in metrics
    bundle = Bundle.open(shop.folder / "bundles" / report["version"])
    assert (bundle.manifest.kind, bundle.manifest.n_users) == ("rating", N_USERS - 1)
    assert FORGOTTEN not in dict(bundle.users())
    assert "added" in bundle.item_ids
    assert comparison["unknown_targets"] > 0
    # It can be refreshed in its turn.
    again = shop.refresh()
    assert (again["outcome"], again["reason"]) == ("declined", "there are no new events")
    assert json.loads((folder / "runs" / f"{again['number']:04d}" / "report.json").read_text())
    # As if two more had been published since.
    for number in (90, 91):
        run = folder / "runs" / f"{number:04d}"
        run.mkdir()
        (run / "report.json").write_text(json.dumps({"version": f"later-{number}"}))
    shop.said.clear()
    refresh(shop.choices(keep=2), every_s=None, log=shop.said.append)
    assert shop.said[-1].startswith(f"not retired: version {report['version']!r} ")
