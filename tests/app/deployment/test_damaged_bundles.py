"""Damaged bundles harm neither a running service nor one that starts."""

from __future__ import annotations

import filecmp
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from model_store.store import connect
from tests.app.conftest import AS_ADMIN, publish_and_activate, serving, settings_for
from tests.damage import Damage, all_damages, restate
from tests.synthetic_bundle import make_bundle, make_catalogue

DAMAGES = all_damages()
SOUND = "made-1"
REQUESTS = (
    {"user_id": "u1", "k": 20, "fields": ["title", "year", "genres"]},
    {"user_id": "nobody", "k": 20, "fields": ["title", "year", "genres"]},
    {"history": ["i3", "i5"] * 40, "k": 20, "explain": True},
    {"interests": "western comedy", "k": 20},
    {"interests": "unheard of", "k": 20},
    {"user_id": "u2", "k": 5, "filters": {"genres": {"any": ["drama"]}, "year": {"gte": 1990}}},
)


def test_there_are_many_kinds_of_damage() -> None:
    assert len(DAMAGES) >= 100


@pytest.fixture(scope="module")
def service_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle to damage, which is not the one that serves."""
    folder = tmp_path_factory.mktemp("sound") / "sound"
    return make_bundle(
        folder, version="damaged", catalogue=make_catalogue(seed=9), with_reranker=True
    )


@pytest.fixture(scope="module")
def http(
    store: EmbeddedStore, synthetic_bundle: Bundle, service_folder: Path, sound: Bundle
) -> Iterator[TestClient]:
    client = connect(store.url)
    client.flushall()
    publish_and_activate(synthetic_bundle, service_folder, store.url)
    publish(sound, service_folder / "bundles", client)
    client.close()
    # Not followed but activated by the tests, one after another.
    with serving(settings_for(store.url, service_folder, watch_interval_ms=60_000)) as http:
        yield http


def put_damaged(sound: Bundle, damage: Damage, folder: Path) -> Path:
    """The sound bundle's copy in the bundles folder, damaged."""
    placed = folder / "bundles" / "damaged"
    mend(sound, placed)
    damage.apply(placed)
    return placed


def mend(sound: Bundle, placed: Path) -> None:
    """Make the copy sound again; to copy all files took a fifth of every test."""
    names = {path.name for path in sound.folder.iterdir()}
    same, *_ = filecmp.cmpfiles(sound.folder, placed, names)
    for name in names.difference(same):
        shutil.copy2(sound.folder / name, placed / name)
    for path in placed.iterdir():
        if path.name not in names:
            path.unlink()


def ask_all(http: TestClient) -> list[httpx.Response]:
    """Answers to all requests, asked in the service's own loop: hundreds of tests need them."""

    async def ask() -> list[httpx.Response]:
        service = httpx.ASGITransport(app=http.app)
        async with httpx.AsyncClient(transport=service, base_url="http://service") as client:
            return [await client.post("/recommend", json=request) for request in REQUESTS]

    assert http.portal is not None
    return http.portal.call(ask)


def check_answers(http: TestClient, version: str) -> None:
    """The version answers all that can be asked, wholly."""
    for request, response in zip(REQUESTS, ask_all(http), strict=True):
        assert response.status_code == 200, (request, response.text)
        answer = response.json()
        assert answer["model_version"] == version
        assert len(answer["items"]) == request["k"] or "filters" in request
        assert answer["items"]
        for item in answer["items"]:
            assert item["score"] is not None
            assert math.isfinite(item["score"])


def test_the_bundle_without_damage_is_sound(
    http: TestClient, sound: Bundle, service_folder: Path
) -> None:
    put_damaged(sound, Damage("none", restate), service_folder)
    assert http.post("/admin/models/damaged/activate", headers=AS_ADMIN).status_code == 200
    check_answers(http, "damaged")
    assert http.post(f"/admin/models/{SOUND}/activate", headers=AS_ADMIN).status_code == 200
    check_answers(http, SOUND)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_a_damaged_bundle_is_rejected_and_the_running_version_answers_on(
    http: TestClient, sound: Bundle, service_folder: Path, damage: Damage
) -> None:
    put_damaged(sound, damage, service_folder)
    response = http.post("/admin/models/damaged/activate", headers=AS_ADMIN)
    assert response.status_code == 424, response.text
    detail = response.json()["detail"]
    assert "\n" not in detail
    assert "damaged" in detail  # names the folder
    check_answers(http, SOUND)
