"""A store that was emptied is not a store of users without a history."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from starlette.testclient import TestClient

from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.registry import Registry
from tests.app.conftest import AS_ADMIN, publish_and_activate, service_of, serving, settings_for
from tests.app.deployment.test_lifecycle import wait_for
from tests.app.store.conftest import ask, ids_for, send, state_of
from tests.synthetic_bundle import Catalogue


@pytest.fixture
def http(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path
) -> Iterator[TestClient]:
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


def test_answers_are_labelled_at_once_and_come_from_memory(
    http: TestClient,
    client: redis.Redis,
    synthetic_bundle: Bundle,
    store: EmbeddedStore,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = ids_for(http, user_id="u1")
    assert ask(http, user_id="stranger")["degraded"] == []
    caplog.clear()
    client.flushall()
    for user_id, served_by in (("u1", "model"), ("u2", "popular"), ("stranger", "popular")):
        answer = ask(http, user_id=user_id)
        assert (answer["served_by"], answer["degraded"]) == (served_by, ["features"])
    assert ids_for(http, user_id="u1") == known
    # The store works: what happens from now on is seen, and what was remembered stays.
    assert send(http, "u2", "i3") == []
    answer = ask(http, user_id="u2")
    assert (answer["served_by"], answer["degraded"]) == ("model", ["features"])
    wait_for(lambda: state_of(http) == "empty")
    ready = http.get("/health/ready").json()
    assert ready["store_reason"] == "the store lacks version made-1; was it emptied?"
    assert ready["version"] == "made-1"
    [line] = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "the store lacks version made-1" in line.message

    publish_and_activate(synthetic_bundle, folder, store.url)
    wait_for(lambda: state_of(http) == "up")
    for user_id in ("u1", "u2", "stranger"):
        assert ask(http, user_id=user_id)["degraded"] == []
    assert ids_for(http, user_id="u1") == known


def test_a_new_event_keeps_what_was_remembered(http: TestClient, client: redis.Redis) -> None:
    send(http, "e", "i1", "i2")
    before = ids_for(http, user_id="e")
    assert before == ids_for(http, history=["i1", "i2"])
    client.flushall()
    send(http, "e", "i3")
    assert ids_for(http, user_id="e") == ids_for(http, history=["i1", "i2", "i3"])


def test_names_and_rules_go_on_as_the_version_does(
    http: TestClient, client: redis.Redis, store: EmbeddedStore, folder: Path
) -> None:
    first, second, *_ = ids_for(http, history=["i1"])
    rule = {"name": "h", "action": "hide", "item_ids": [first]}
    assert http.put("/admin/rules", headers=AS_ADMIN, json={"rules": [rule]}).status_code == 200
    named = http.post("/admin/models/made-1/activate?model=shop", headers=AS_ADMIN)
    assert named.status_code == 200
    client.flushall()
    wait_for(lambda: state_of(http) == "empty")
    with serving(settings_for(store.url, folder)) as again:
        for one in (http, again):
            assert ids_for(one, history=["i1"])[0] == second
            assert ids_for(one, history=["i1"], model="shop")[0] == second
        # What an operator says from now on holds.
        answer = again.put("/admin/rules", headers=AS_ADMIN, json={"rules": []})
        assert answer.status_code == 200
        for one in (http, again):
            wait_for(lambda one=one: ids_for(one, history=["i1"])[0] == first)
            named = one.post("/recommend", json={"history": ["i1"], "model": "shop"})
            assert named.status_code == 422


def test_rules_that_are_changed_after_a_loss_hold_whatever_their_revision(
    http: TestClient, client: redis.Redis
) -> None:
    """A store that was emptied counts revisions anew: these have those of the rules before."""
    [*items] = ids_for(http, history=["i1"], k=4)

    def hide(hidden: str) -> None:
        rule = {"name": "hide", "action": "hide", "item_ids": [hidden]}
        answer = http.put("/admin/rules", headers=AS_ADMIN, json={"rules": [rule]})
        assert answer.status_code == 200
        left = [one for one in items if one != hidden]
        wait_for(lambda: ids_for(http, history=["i1"], k=4)[:3] == left)

    for hidden in items[:3]:
        client.flushall()
        wait_for(lambda: service_of(http).models.deployments.are_lost)
        hide(hidden)
        assert http.get("/admin/rules", headers=AS_ADMIN).json()["revision"] == 1


def test_new_items_are_seen_after_as_many_were_lost(
    http: TestClient,
    client: redis.Redis,
    catalogue: Catalogue,
    synthetic_bundle: Bundle,
    store: EmbeddedStore,
    folder: Path,
) -> None:
    def add(*item_ids: str) -> None:
        fresh = [FreshItem(one, catalogue.knowledge[3], {}) for one in item_ids]
        publish_fresh(fresh, client, encoder="made")
        wait_for(lambda: set(item_ids) <= set(ids_for(http, history=["i1"], k=70)))

    add("before 1", "before 2")
    client.flushall()
    publish_and_activate(synthetic_bundle, folder, store.url)
    add("after 1")
    add("after 2")
    assert {"before 1", "before 2"} <= set(ids_for(http, history=["i1"], k=70))
    client.flushall()
    publish_and_activate(synthetic_bundle, folder, store.url)
    add("after 3", "after 4", "after 5")  # as many as were read, and one more
    assert http.get("/health/ready").json()["fresh_items"] == 7


def test_a_retired_version_that_still_answers_is_labelled(
    http: TestClient, client: redis.Redis
) -> None:
    client.delete(keys.DEPLOYMENT)
    Registry(client).retire("made-1")
    assert ask(http, user_id="u3")["degraded"] == ["features"]


def test_a_restart_serves_the_last_version(
    http: TestClient, client: redis.Redis, store: EmbeddedStore, folder: Path
) -> None:
    client.flushall()
    with serving(settings_for(store.url, folder)) as again:
        assert again.get("/health/ready").json()["version"] == "made-1"
        assert ask(again, user_id="u1")["degraded"] == ["features"]
        assert ask(again, history=["i1"])["degraded"] == []
