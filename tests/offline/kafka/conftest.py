"""A broker for all tests, and a topic of each test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import HTTPServer
from uuid import uuid4

import pytest

from model_store.embedded import EmbeddedStore
from tests.kafka_broker import Broker, kafka_broker
from tests.offline.kafka.stub_service import Stub


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with kafka_broker() as running:
        yield running


@pytest.fixture
def topic() -> str:
    return f"t-{uuid4().hex}"


@pytest.fixture
def at_store(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the store."""
    monkeypatch.setenv("LONGTAIL_REDIS_URL", str(store.url))


@pytest.fixture
def stub() -> Iterator[str]:
    Stub.answers, Stub.accepted, Stub.asked_s = [], [], []
    with HTTPServer(("127.0.0.1", 0), Stub) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
