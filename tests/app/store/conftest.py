"""A store of a test's own, to be treated badly."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from tests.app.conftest import publish_and_activate
from tests.redis_servers import Cluster, Watched, cluster, watched


@pytest.fixture(scope="session")
def session_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Six nodes for all tests; use `redis_cluster` for a whole and empty one."""
    with cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def redis_cluster(session_cluster: Cluster) -> Cluster:
    session_cluster.wait_until_whole()
    with session_cluster.client() as client:
        client.flushall(target_nodes=redis.RedisCluster.PRIMARIES)
    return session_cluster


@pytest.fixture(scope="session")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A primary with a replica, and three Sentinels."""
    with watched(tmp_path_factory.mktemp("sentinels")) as running:
        yield running


@pytest.fixture
def own_store(tmp_path: Path, synthetic_bundle: Bundle) -> Iterator[EmbeddedStore]:
    (tmp_path / "bundles").mkdir()
    with EmbeddedStore(tmp_path / "store", fsync="everysec") as store:
        publish_and_activate(synthetic_bundle, tmp_path, store.url)
        yield store


def kill(store: EmbeddedStore) -> None:
    assert store.pid is not None
    os.kill(store.pid, signal.SIGKILL)
    store.stop()


@contextmanager
def stopped(store: EmbeddedStore, for_s: float | None = None) -> Iterator[None]:
    """The store hangs inside this block, or for a time that begins with it."""
    assert store.pid is not None
    os.kill(store.pid, signal.SIGSTOP)
    timer = threading.Timer(for_s or 60, os.kill, (store.pid, signal.SIGCONT))
    timer.start()
    try:
        yield
    finally:
        if for_s is None:
            timer.cancel()
            os.kill(store.pid, signal.SIGCONT)
        timer.join()


def ask(http: TestClient, **request: Any) -> dict[str, Any]:
    response = http.post("/recommend", json={"k": 60, **request})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids_for(http: TestClient, **request: Any) -> list[str]:
    return [item["item_id"] for item in ask(http, **request)["items"]]


def state_of(http: TestClient) -> str:
    return str(http.get("/health/ready").json()["store"])


def is_up(http: TestClient) -> bool:
    return state_of(http) == "up"


def send(http: TestClient, user_id: str, *item_ids: str) -> list[str]:
    events = [{"user_id": user_id, "item_id": item_id} for item_id in item_ids]
    response = http.post("/events", json={"events": events})
    assert response.status_code == 200, response.text
    degraded: list[str] = response.json()["degraded"]
    return degraded
