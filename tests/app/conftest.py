"""A service over a tiny real bundle and a real store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.comparison import shadow
from app.deployment import loaded_versions
from app.main import LongtailApp, create_app
from app.model import background
from app.settings import Settings
from model_store import preparation, workers
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from model_store.registry import Registry
from model_store.store import connect
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue

TOKEN = "a-token-for-tests"
# For what takes a moment on a quiet machine; others may have ten programs for each core.
PATIENCE_S = 60.0
AS_ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="session", autouse=True)
def loads_without_pauses() -> Iterator[None]:
    """Versions load without pauses and at normal priority, as hundreds of tests wait for one.

    `test_background` is about both. Who rolls a version out looks often whether it is loaded. A
    shadow doesn't rest, which `test_shadow_queue` is about.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background, "SHARE", 1.0)
        patch.setattr(loaded_versions, "LOADING_SHARE", 1.0)
        patch.setattr(background, "_lower_priority", lambda: None)
        patch.setattr(shadow, "SHARE_OF_TIME", 1.0)
        patch.setattr(preparation, "LOADING_PAUSE_S", 0.01)
        yield


@pytest.fixture(scope="session", autouse=True)
def counts_as_there() -> Iterator[None]:
    """A worker that reports late is no worker that is gone, and a shadow may answer late.

    A busy machine takes the seconds after which the service gives them up.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "EXPIRY_S", PATIENCE_S)
        patch.setattr(shadow, "MAX_AGE_S", PATIENCE_S)
        yield


@pytest.fixture(scope="module", autouse=True)
def emptied(store: EmbeddedStore) -> None:
    """No module finds the canary, the rules or the items that another one left in the store."""
    client = connect(store.url)
    client.flushall()
    client.close()


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return make_catalogue()


@pytest.fixture(scope="session")
def synthetic_bundle(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("made") / "made-1", catalogue=catalogue)


def secret_of(token: str) -> str:
    """The part of a made token that nobody may see; its characters can be underscores too."""
    return token.split("_", maxsplit=2)[2]


def settings_for(url: str, folder: Path, **changes: object) -> Settings:
    fields: dict[str, object] = {
        "redis_url": url,
        "bundles_dir": folder / "bundles",
        "store_dir": folder / "journals",
        "admin_token": TOKEN,
        "watch_interval_ms": 50,
        # The cores of a test machine are shared: no timeout but where a test is about one.
        "store_timeout_ms": 5_000,
        **changes,
    }
    return Settings(**fields)  # type: ignore[arg-type]


def publish_and_activate(bundle: Bundle, folder: Path, url: str) -> str:
    client = connect(url)
    version = publish(bundle, folder / "bundles", client).version
    Registry(client).activate(version)
    client.close()
    return version


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def wait_until_started(app: LongtailApp) -> None:
    while not app.state.service.started.is_set():
        time.sleep(0.002)


@contextmanager
def serving(settings: Settings) -> Iterator[TestClient]:
    """The service once its first load is over, whatever came of it."""
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False) as http:
        wait_until_started(app)
        yield http


def service_of(http: TestClient) -> Any:
    return http.app.state.service  # type: ignore[attr-defined]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bundles").mkdir()
    return tmp_path


@pytest.fixture
def good(store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path) -> str:
    """The active version, of an otherwise empty store."""
    return publish_and_activate(synthetic_bundle, folder, store.url)


@pytest.fixture
def own_http(store: EmbeddedStore, good: str, folder: Path) -> Iterator[TestClient]:
    """A service of one test, which may change what it answers with."""
    with serving(settings_for(store.url, folder)) as http:
        yield http


@pytest.fixture
def second(client: redis.Redis, folder: Path, tmp_path: Path) -> str:
    """Another version that is published in the same folder."""
    bundle = make_bundle(tmp_path / "made-2", version="made-2", catalogue=make_catalogue(seed=8))
    return publish(bundle, folder / "bundles", client).version


@pytest.fixture(scope="module")
def http(
    store: EmbeddedStore, synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """A service for all tests of a module; those that change it make their own."""
    folder = tmp_path_factory.mktemp("service")
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http
