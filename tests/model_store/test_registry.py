from __future__ import annotations

import threading
from itertools import pairwise

import pytest
import redis

from model_store import keys
from model_store.errors import RegistryError, StoreAway, StoreError
from model_store.registry import ModelRecord, Registry
from model_store.store import connect


def make_record(version: str) -> ModelRecord:
    return ModelRecord(
        version=version,
        model="sasrec",
        bundle=f"bundles/{version}",
        published_at=f"2026-01-01T00:00:0{version[-1]}",
        created_at="2026-01-01",
        n_items=3,
        n_users=2,
        encoder=None,
        code_revision="0",
        metrics={"ndcg_at_10": 0.1},
    )


@pytest.fixture
def registry(client: redis.Redis) -> Registry:
    registry = Registry(client)
    for version in ("v1", "v2", "v3"):
        registry.add(make_record(version))
    return registry


def test_records_come_in_order_of_publication(registry: Registry) -> None:
    assert [record.version for record in registry.records()] == ["v1", "v2", "v3"]
    assert registry.get("v2") == make_record("v2")


def test_an_unknown_version_is_rejected_and_the_known_ones_are_named(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"'v9'.*v1, v2, v3"):
        registry.activate("v9")
    assert registry.active() is None


def test_rollback_walks_back_through_the_activations(registry: Registry) -> None:
    assert registry.activate("v1") is None
    assert registry.activate("v2") == "v1"
    registry.activate("v2")  # once more changes nothing
    registry.activate("v3")
    assert registry.previous() == "v2"
    assert registry.rollback() == "v2"
    assert registry.rollback() == "v1"
    assert registry.active() == "v1"
    with pytest.raises(RegistryError, match="no earlier version"):
        registry.rollback()
    assert registry.active() == "v1"


def test_rollback_passes_over_retired_versions(registry: Registry) -> None:
    for version in ("v1", "v2", "v3"):
        registry.activate(version)
    registry.retire("v2")
    assert registry.rollback() == "v1"


def test_retiring_takes_the_keys_of_that_version_only(
    registry: Registry, client: redis.Redis
) -> None:
    names = [keys.user_key("v1", f"u{i}") for i in range(2_500)]
    client.mset(dict.fromkeys(names, b"x"))
    client.set(keys.user_key("v2", "u0"), b"x")
    client.set(keys.user_key("v11", "u0"), b"x")
    client.rpush(keys.events_key("u0"), b"x")
    assert registry.retire("v1") == 2_500
    assert client.exists(keys.user_key("v2", "u0"), keys.user_key("v11", "u0")) == 2
    assert client.exists(keys.events_key("u0"))
    assert [record.version for record in registry.records()] == ["v2", "v3"]


def test_the_active_version_is_not_retired(registry: Registry) -> None:
    registry.activate("v1")
    with pytest.raises(RegistryError, match="active"):
        registry.retire("v1")
    assert registry.get("v1")


def test_two_operators_at_once_leave_a_history_without_gaps(
    registry: Registry, client: redis.Redis
) -> None:
    registry.activate("v1")

    def swap() -> None:
        mine = Registry(connect_like(client))
        for _ in range(30):
            mine.activate("v2")
            mine.activate("v3")

    threads = [threading.Thread(target=swap) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain = [registry.active(), *(v.decode() for v in client.lrange(keys.PREVIOUS, 0, -1))]
    assert all(newer != older for newer, older in pairwise(chain))
    assert chain[-1] == "v1"


def connect_like(client: redis.Redis) -> redis.Redis:
    path = client.connection_pool.connection_kwargs["path"]
    return connect(f"unix://{path}")


def test_a_damaged_record_is_named(registry: Registry, client: redis.Redis) -> None:
    client.hset(keys.MODELS, "v2", b"{}")
    with pytest.raises(StoreError, match="'v2'"):
        registry.records()


def test_an_absent_store_is_away() -> None:
    with pytest.raises(StoreAway, match="can't be reached"):
        Registry(connect("redis://127.0.0.1:1/0", timeout_s=0.5)).active()
