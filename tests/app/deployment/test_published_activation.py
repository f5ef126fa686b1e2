"""`longtail publish --activate` brings a version to all workers, or to none, as other ways do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import redis
from starlette.testclient import TestClient

import longtail
from model_store.attributes import ItemAttributes
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import BundleError
from model_store.registry import Registry
from tests.app.conftest import service_of
from tests.app.deployment.conftest import version_of
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue


@pytest.fixture
def _here(store: EmbeddedStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", str(store.url))
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(folder / "bundles"))


def another(folder: Path) -> Bundle:
    return make_bundle(folder / "made-2", version="made-2", catalogue=make_catalogue(seed=8))


def publish(bundle: Bundle) -> int:
    return longtail.main(["publish", "--bundle", str(bundle.folder), "--activate"])


@pytest.mark.usefixtures("_here")
def test_all_workers_answer_with_it_when_the_command_ends(
    own_http: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(another(tmp_path)) == 0
    assert version_of(own_http) == "made-2"
    assert capsys.readouterr().out.endswith("active: made-2 (before: made-1); workers: 1\n")


@pytest.mark.usefixtures("_here")
def test_a_version_that_a_worker_cannot_load_is_published_only(
    own_http: TestClient,
    client: redis.Redis,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def fail(_version: str) -> None:
        raise BundleError("too little memory here")

    service_of(own_http).models.versions._open = fail
    assert publish(another(tmp_path)) == 1
    assert "too little memory here" in capsys.readouterr().err
    assert version_of(own_http) == Registry(client).active() == "made-1"
    assert Registry(client).get("made-2").version == "made-2"


@pytest.mark.usefixtures("_here", "own_http")
def test_a_version_that_lacks_an_attribute_is_published_only(
    client: redis.Redis, catalogue: Catalogue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [catalogue.attributes.get(name) for name in ("title", "year")]
    fewer = ItemAttributes([one for one in kept if one is not None], len(catalogue.ids))
    poorer = dataclasses.replace(catalogue, attributes=fewer)
    assert publish(make_bundle(tmp_path / "made-2", version="made-2", catalogue=poorer)) == 1
    assert "lacks attributes of 'made-1': genres (list)" in capsys.readouterr().err
    assert Registry(client).active() == "made-1"
