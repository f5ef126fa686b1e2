"""Services on one store, and experiments that end with their tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from tests.synthetic_bundle import make_bundle, make_catalogue


@pytest.fixture(scope="module")
def pair(
    store: EmbeddedStore, synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[TestClient]]:
    """Two services on one store, with a second version; each test's experiment has its own name."""
    folder = tmp_path_factory.mktemp("experiments")
    with connect(store.url) as client:
        client.flushall()
        publish_and_activate(synthetic_bundle, folder, store.url)
        other = make_bundle(folder / "2", version="made-2", catalogue=make_catalogue(seed=8))
        publish(other, folder / "bundles", client)
    settings = settings_for(store.url, folder, watch_interval_ms=200)
    with serving(settings) as one, serving(settings) as another:
        yield [one, another]


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
