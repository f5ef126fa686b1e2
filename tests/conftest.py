"""What tests of several rooms share: a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from model_store.embedded import EmbeddedStore
from model_store.store import connect


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """A real Valkey for the whole run; take `client` for an empty one."""
    with EmbeddedStore(tmp_path_factory.mktemp("store"), fsync="everysec") as running:
        yield running


@pytest.fixture
def client(store: EmbeddedStore) -> Iterator[redis.Redis]:
    """A client of an emptied store."""
    client = connect(store.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """An empty bundles folder."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    return folder
