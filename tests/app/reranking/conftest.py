"""A service over a bundle with a reranker, and a reranker that tests control."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.reranking.job import Reranker
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.app.conftest import (
    PATIENCE_S,
    publish_and_activate,
    settings_for,
    wait_for,
    wait_until_started,
)
from tests.app.reranking.fake_reranker import FakeReranker
from tests.app.reranking.processes import rerank_process
from tests.synthetic_bundle import Catalogue, make_bundle

PATIENT_MS = 10_000


@contextmanager
def serving(
    reranker: Reranker | None, url: str, folder: Path, **changes: object
) -> Iterator[TestClient]:
    """A service whose reranker is loaded, or can't be."""
    settings = settings_for(url, folder, **{"rerank_wait_ms": PATIENT_MS, **changes})
    app = create_app(settings, reranker=reranker)
    with TestClient(app, raise_server_exceptions=False) as http:
        wait_until_started(app)
        wait_for(lambda: reranker_state(http) != "loading", PATIENCE_S)
        yield http


def reranker_state(http: TestClient) -> str:
    return str(http.get("/health/ready").json()["reranker"])


def ask(http: TestClient, **request: Any) -> dict[str, Any]:
    response = http.post("/recommend", json=request)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids_of(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def measure(http: TestClient) -> None:
    """Have the time of an answer measured: before that, none is waited for."""
    wait_for(
        lambda: ask(http, history=["i60", "i59"], rerank="always")["rerank"] in ("fresh", "cached"),
        PATIENCE_S,
    )


def metric(http: TestClient, name: str) -> float:
    """A sample of /metrics, 0 where there is none."""
    for line in http.get("/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[-1])
    return 0.0


@pytest.fixture(scope="session")
def rerank_bundle(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Bundle:
    return make_bundle(
        tmp_path_factory.mktemp("rerank") / "bundle",
        version="rerank-1",
        catalogue=catalogue,
        with_reranker=True,
    )


@pytest.fixture
def url(store: EmbeddedStore, rerank_bundle: Bundle, folder: Path) -> str:
    """An emptied store in which the bundle is published and active."""
    with connect(store.url) as client:
        client.flushall()
    publish_and_activate(rerank_bundle, folder, store.url)
    return store.url


@pytest.fixture
def reranker() -> FakeReranker:
    return FakeReranker()


@pytest.fixture
def http(reranker: FakeReranker, url: str, folder: Path) -> Iterator[TestClient]:
    with serving(reranker, url, folder) as http:
        yield http


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Socket of a reranker's process, for all tests of a module."""
    path = tmp_path_factory.mktemp("s") / "socket"
    with rerank_process(path):
        yield path
