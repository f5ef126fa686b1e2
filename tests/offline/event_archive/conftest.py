"""An empty store, and what is sent to its logs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from model_store.embedded import EmbeddedStore
from model_store.store import connect


@pytest.fixture
def client(store: EmbeddedStore) -> Iterator[redis.Redis]:
    connected = connect(store.url)
    connected.flushall()
    yield connected
    connected.close()
