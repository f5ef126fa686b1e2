"""What tests of several rooms share: a real store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from model_store.embedded import EmbeddedStore
from model_store.store import connect

# Before anything loads torch, and for child processes too: the order of sums depends on the number
# of threads, and tiny models lose more by waiting for threads than they gain.
os.environ["OMP_NUM_THREADS"] = "1"


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
