"""Services on one store; experiments and names that end with their tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from model_store.store import connect
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.app.deployment.experiment_calls import HALVES, admin
from tests.app.deployment.named_models import post
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue
from tests.synthetic_ratings import make_rating_bundle


def version_of(http: TestClient, user_id: str = "u1", **headers: str) -> str:
    """The version that answers a user."""
    response = http.post("/recommend", json={"user_id": user_id}, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["X-Model-Version"] == response.json()["model_version"]
    return str(response.json()["model_version"])


@pytest.fixture
def two(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path
) -> Iterator[list[TestClient]]:
    """Two services on one store, which look at it rarely."""
    publish_and_activate(synthetic_bundle, folder, store.url)
    settings = settings_for(store.url, folder, watch_interval_ms=200)
    with serving(settings) as one, serving(settings) as other:
        yield [one, other]


@contextmanager
def serving_two_versions(
    store: EmbeddedStore, bundle: Bundle, folder: Path, **changes: Any
) -> Iterator[list[TestClient]]:
    """Two services on one emptied store, whose second version is not active.

    Args:
        bundle: the active version's.
        folder: for what they write.
        changes: of their settings.
    """
    with connect(store.url) as client:
        client.flushall()
        publish_and_activate(bundle, folder, store.url)
        other = make_bundle(folder / "2", version="made-2", catalogue=make_catalogue(seed=8))
        publish(other, folder / "bundles", client)
    settings = settings_for(store.url, folder, watch_interval_ms=200)
    settings = settings.model_copy(update=changes)
    with serving(settings) as one, serving(settings) as another:
        yield [one, another]


@pytest.fixture(scope="module")
def pair(
    store: EmbeddedStore, synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[TestClient]]:
    """Two services on one store, with a second version; each test's experiment has its own name."""
    folder = tmp_path_factory.mktemp("experiments")
    with serving_two_versions(store, synthetic_bundle, folder) as services:
        yield services


@pytest.fixture
def server(store: EmbeddedStore) -> Iterator[redis.Redis]:
    with connect(store.url) as client:
        yield client


@pytest.fixture
def start(pair: list[TestClient], request: pytest.FixtureRequest) -> Iterator[Any]:
    """Start an experiment that is named after the test, and end it with the test."""
    name = request.node.name.replace("[", "-").replace("]", "")[:64]

    def start(arms: Sequence[dict[str, Any]] = HALVES, **body: Any) -> str:
        answer = admin(pair[0], "POST", "", {"name": name, "arms": arms, **body})
        assert answer.status_code == 200, answer.text
        return name

    yield start
    admin(pair[0], "DELETE", f"/{name}")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("named")


@pytest.fixture(scope="module")
def named_pair(
    store: EmbeddedStore, shop: Path, synthetic_bundle: Bundle, catalogue: Catalogue
) -> Iterator[list[TestClient]]:
    """Two services on one store with a sequential default; two rating versions are published."""
    publish_and_activate(synthetic_bundle, shop, store.url)
    with connect(store.url) as client:
        for version, made in (("rated-1", catalogue), ("rated-2", make_catalogue(seed=8))):
            bundle = make_rating_bundle(shop / version, version=version, catalogue=made)
            publish(bundle, shop / "bundles", client)
        other = make_bundle(shop / "2", version="made-2", catalogue=make_catalogue(seed=8))
        publish(other, shop / "bundles", client)
    settings = settings_for(store.url, shop, watch_interval_ms=200)
    with serving(settings) as one, serving(settings) as other_service:
        yield [one, other_service]


@pytest.fixture
def name(named_pair: list[TestClient], request: pytest.FixtureRequest) -> Iterator[str]:
    """A name of the test's own with rated-1 active; it ends with the test."""
    name = request.node.name.removeprefix("test_")[:60]
    assert post(named_pair[0], "rated-1/activate", name).status_code == 200
    yield name
    post(named_pair[0], "deactivate", name)
