from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
import redis

from model_store import keys
from model_store.deployment import MAX_AUDIT
from model_store.errors import RegistryError, StoreAway
from model_store.model_record import ModelRecord
from model_store.registry import Registry
from model_store.store import connect

VERSIONS = ("v1", "v2", "v3")


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
    for version in VERSIONS:
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
    assert registry.deployment().previous == ("v2", "v1")
    assert registry.rollback() == "v2"
    assert registry.rollback() == "v1"
    assert registry.active() == "v1"
    with pytest.raises(RegistryError, match="no earlier version"):
        registry.rollback()
    assert registry.active() == "v1"


def test_a_rollback_that_cannot_be_says_how_a_canary_ends(registry: Registry) -> None:
    """Who wants to be without a canary may well ask for a rollback."""
    registry.activate("v1")
    registry.canary("v2", 5)
    for go_back in (registry.dry().rollback, registry.rollback):
        with pytest.raises(RegistryError, match="the canary 'v2' ends with `--percent 0`"):
            go_back()


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
    deployment = registry.deployment()
    chain = [deployment.active, *deployment.previous]
    assert all(newer != older for newer, older in pairwise(chain))
    # One of each generation, whoever made it, and none was lost. Activating what the other one has
    # just activated makes none, so their number varies.
    generations = [entry.generation for entry in deployment.audit]
    oldest = max(1, deployment.generation - MAX_AUDIT + 1)
    assert generations == list(range(deployment.generation, oldest - 1, -1))


def connect_like(client: redis.Redis) -> redis.Redis:
    path = client.connection_pool.connection_kwargs["path"]
    return connect(f"unix://{path}")


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        (b"v2", b"{}"),
        (b"v2", b"nonsense"),
        (b"v2", b"\xff\xfe"),
        (b"\xff", b"{}"),
        (b"theirs", make_record("v9").model_dump_json().encode()),
        (b"", b""),
        (b"x" * 300, make_record("x" * 300).model_dump_json().encode()),
    ],
)
def test_a_foreign_record_is_passed_over_with_one_warning(
    registry: Registry,
    client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    name: bytes,
    entry: bytes,
) -> None:
    client.hset(keys.MODELS, name, entry)  # type: ignore[arg-type]
    for _ in range(3):
        assert [r.version for r in registry.records()] == [
            v for v in VERSIONS if v.encode() != name
        ]
    assert registry.activate("v1") is None
    assert registry.activate("v3") == "v1"
    assert registry.rollback() == "v1"
    with pytest.raises(RegistryError, match="is not published"):
        registry.activate(name.decode(errors="replace"))
    assert len(caplog.records) == 1
    client.hset(keys.MODELS, name, b"something else")  # type: ignore[arg-type]
    registry.records()
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "document",
    [b"nonsense", b"[]", b"\xff", b'{"active": "../x"}', b'{"active": "%s"}' % (b"v" * 300)],
)
def test_a_damaged_deployment_record_is_passed_over_with_one_warning(
    registry: Registry, client: redis.Redis, caplog: pytest.LogCaptureFixture, document: bytes
) -> None:
    client.set(keys.DEPLOYMENT, document)
    assert [registry.active() for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1
    registry.activate("v2")
    assert registry.active() == "v2"


@pytest.mark.parametrize("active", [b"\xff\xfe", b"v" * 300, b"../x", b""])
def test_a_damaged_active_version_of_an_earlier_release_is_passed_over(
    registry: Registry, client: redis.Redis, caplog: pytest.LogCaptureFixture, active: bytes
) -> None:
    registry.activate("v2")
    client.set(keys.ACTIVE, active)
    assert [registry.active() for _ in range(3)] == ["v2"] * 3
    assert len(caplog.records) == (1 if active else 0)
    registry.activate("v3")
    assert not client.exists(keys.ACTIVE)


def test_what_an_earlier_release_left_is_taken_over(
    registry: Registry, client: redis.Redis
) -> None:
    client.set(keys.ACTIVE, "v3")
    client.rpush(keys.PREVIOUS, "v2", "v1")
    deployment = registry.deployment()
    assert (deployment.active, deployment.previous) == ("v3", ("v2", "v1"))
    assert registry.rollback() == "v2"
    assert registry.deployment().previous == ("v1",)
    assert not client.exists(keys.ACTIVE, keys.PREVIOUS)
    # While services are upgraded one by one, somebody may activate by the old command.
    client.set(keys.ACTIVE, "v3")
    assert registry.active() == "v3"
    assert registry.rollback() == "v2"


def test_the_audit_tells_who_did_what(client: redis.Redis, registry: Registry) -> None:
    mine = Registry(client, "longtail models")
    mine.activate("v1")
    mine.activate("v1")  # changes nothing
    mine.activate("v2")
    mine.rollback()
    mine.retire("v2")
    audit = registry.deployment().audit
    assert [(entry.generation, entry.what) for entry in audit] == [
        (4, "retire v2"),
        (3, "roll back to v1, before v2"),
        (2, "activate v2, before v1"),
        (1, "activate v1"),
    ]
    assert {entry.why for entry in audit} == {"longtail models"}
    assert all("@" in entry.who and entry.at.endswith("+00:00") for entry in audit)
    for _ in range(200):
        mine.activate("v3")
        mine.activate("v1")
    assert len(registry.deployment().audit) == 100
    assert client.strlen(keys.DEPLOYMENT) < 50_000


def test_going_back_never_leads_to_where_one_is(registry: Registry) -> None:
    for version in ("v1", "v2", "v1"):
        registry.activate(version)
    registry.retire("v2")
    with pytest.raises(RegistryError, match="no earlier version"):
        registry.rollback()
    for version in ("v3", "v1"):
        registry.activate(version)
    assert registry.rollback() == "v3"


def test_a_version_that_is_retired_meanwhile_is_not_activated(client: redis.Redis) -> None:
    """Whichever comes first: what is active is published, and what is retired is not active."""
    outcomes = set()
    for number in range(40):
        first, second = Registry(connect_like(client)), Registry(connect_like(client))
        for version in ("v1", "v2"):
            first.add(make_record(version))
        first.activate("v1")

        def attempt(action: Callable[[str], object]) -> None:
            with contextlib.suppress(RegistryError):
                action("v2")

        actions = [first.activate, second.retire]
        threads = [threading.Thread(target=attempt, args=(action,)) for action in actions]
        for thread in threads[:: -1 if number % 2 else 1]:
            thread.start()
        for thread in threads:
            thread.join()
        active = first.active()
        assert active in {record.version for record in first.records()}
        outcomes.add(active)
        client.flushall()
    assert outcomes <= {"v1", "v2"}


def test_an_absent_store_is_away() -> None:
    with pytest.raises(StoreAway, match="can't be reached"):
        Registry(connect("redis://127.0.0.1:1/0", timeout_s=0.5)).active()


def test_a_canary_is_counted_on_while_another_version_is_retired(registry: Registry) -> None:
    registry.activate("v1")
    before = registry.canary("v2", 5).canary
    registry.retire("v3")
    assert registry.deployment().canary == before
    registry.add(make_record("v3"))
    registry.activate("v3")
    after = registry.deployment().canary
    assert after is not None
    assert before is not None
    assert (after.version, after.percent, after.salt) == ("v2", 5, before.salt)
    assert after.epoch != before.epoch  # it is compared with another version now
