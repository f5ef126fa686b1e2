"""Versions that are active under names: each with its own record, apart from all others."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.deployment.routing import Routing
from model_store import keys
from model_store.deployments import DEFAULT
from model_store.embedded import EmbeddedStore
from model_store.errors import BundleError, RegistryError
from model_store.publication import publish
from model_store.registry import Registry
from model_store.rollout import Rollout
from model_store.workers import WorkerState, report_commands
from tests.app.conftest import AS_ADMIN, service_of, serving, settings_for, wait_for
from tests.app.deployment.named_models import deployment, post
from tests.synthetic_bundle import make_catalogue
from tests.synthetic_ratings import make_rating_bundle


def rated_by(http: TestClient, model: str) -> str:
    answer = http.post("/ratings", json={"model": model, "user_id": "u3", "item_ids": ["i1"]})
    assert answer.status_code == 200, answer.text
    return str(answer.headers["X-Model-Version"])


def recommended_by(http: TestClient, **body: Any) -> str:
    answer = http.post("/recommend", json={"user_id": "u3", **body})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model_version"])


def test_every_worker_answers_under_the_name_and_the_default_stays(
    named_pair: list[TestClient], name: str
) -> None:
    assert [rated_by(http, name) for http in named_pair] == ["rated-1", "rated-1"]
    assert [recommended_by(http, model=name) for http in named_pair] == ["rated-1", "rated-1"]
    assert [recommended_by(http) for http in named_pair] == ["made-1", "made-1"]
    assert [recommended_by(http, model=DEFAULT) for http in named_pair] == ["made-1", "made-1"]
    before = deployment(named_pair[1])
    answer = post(named_pair[0], "rated-2/activate", name)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["model"], answer.json()["workers"]) == (name, 2)
    # At once, although the other service looks at the store five times a second only.
    assert [rated_by(http, name) for http in named_pair] == ["rated-2", "rated-2"]
    found = deployment(named_pair[1], name)
    assert (found["model"], found["active"], found["previous"]) == (name, "rated-2", ["rated-1"])
    assert found["audit"][0]["what"] == "activate rated-2, before rated-1"
    assert {(one["version"], one["generation"]) for one in found["workers"]} == {("rated-2", 2)}
    assert {"model": name, "active": "rated-2", "generation": 2} in found["names"]
    # Nothing of it is in the default's record.
    after = deployment(named_pair[1])
    assert after["audit"] == before["audit"]
    assert {one["version"] for one in after["workers"]} == {"made-1"}


def test_a_rollback_is_of_the_name_alone(named_pair: list[TestClient], name: str) -> None:
    generation = deployment(named_pair[0])["generation"]
    assert post(named_pair[0], "rated-2/activate", name).status_code == 200
    assert post(named_pair[1], "rollback", name).json()["active"] == "rated-1"
    assert [rated_by(http, name) for http in named_pair] == ["rated-1", "rated-1"]
    assert deployment(named_pair[0])["generation"] == generation
    assert post(named_pair[1], "rollback", name).status_code == 409


def test_a_swap_under_load_is_seen_by_the_requests_of_the_name_alone(
    named_pair: list[TestClient], name: str
) -> None:
    seen: dict[str, list[str]] = {name: [], DEFAULT: []}
    is_over = threading.Event()

    def ask(model: str) -> None:
        while not is_over.is_set():
            seen[model].append(recommended_by(named_pair[1], model=model))

    threads = [threading.Thread(target=ask, args=(model,)) for model in seen]
    for thread in threads:
        thread.start()
    try:
        for version in ("rated-2", "rated-1", "rated-2"):
            assert post(named_pair[0], f"{version}/activate", name).status_code == 200
        wait_for(lambda: len(seen[DEFAULT]) > 20 and seen[name][-1] == "rated-2")
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert set(seen[DEFAULT]) == {"made-1"}
    # Each swap is one moment: no request after it is answered by the version before.
    swaps = [a for a, b in zip(seen[name], seen[name][1:], strict=False) if a != b]
    assert set(seen[name]) <= {"rated-1", "rated-2"}
    assert len(swaps) <= 3


def test_an_unknown_name_is_named_with_those_that_there_are(
    named_pair: list[TestClient], name: str
) -> None:
    for path, body in (
        ("/recommend", {"user_id": "u1"}),
        ("/ratings", {"user_id": "u1", "item_ids": ["i1"]}),
    ):
        answer = named_pair[1].post(path, json={"model": name + "x", **body})
        assert answer.status_code == 422, answer.text
        [error] = answer.json()["errors"]
        assert (error["field"], error["value"]) == ("model", name + "x")
        assert f"(names: {DEFAULT}, {name})" in error["message"]
    assert (
        named_pair[0].post("/recommend", json={"user_id": "u1", "model": "a b"}).status_code == 422
    )


def test_ratings_of_a_default_of_another_kind_name_the_model_that_can(
    named_pair: list[TestClient], name: str
) -> None:
    answer = named_pair[0].post("/ratings", json={"user_id": "u1", "item_ids": ["i1"]})
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        "version 'made-1' is of kind 'sequential' and predicts no ratings; "
        f'ask with "model": "{name}"'
    )


def test_each_request_of_a_batch_is_answered_under_its_own_name(
    named_pair: list[TestClient], name: str
) -> None:
    asked = [{"user_id": "u1", "model": one} for one in (None, name, "nobody", DEFAULT, name)]
    answer = named_pair[0].post("/recommend/batch", json={"requests": asked})
    assert answer.status_code == 200, answer.text
    found = answer.json()["responses"]
    assert [one.get("model_version") for one in found] == [
        *("made-1", "rated-1", None, "made-1", "rated-1")
    ]
    assert (found[2]["status"], found[2]["errors"][0]["field"]) == (422, "model")
    alone = named_pair[0].post("/recommend", json=asked[1]).json()
    assert found[1]["items"] == alone["items"]


def test_a_name_answers_as_soon_as_its_record_and_its_version_are_known(
    named_pair: list[TestClient], server: redis.Redis
) -> None:
    """What delays the swap, such as a large table that gets fresh items, delays no request."""
    http, name = named_pair[0], "at-once"
    models = service_of(http).models
    swap, may_swap = models._swap, asyncio.Event()

    async def swap_late(routing: Routing) -> bool:
        if routing.name == name:
            await may_swap.wait()
        return bool(await swap(routing))

    models._swap = swap_late
    try:
        Registry(server, model=name).activate("made-1")
        wait_for(lambda: name in models.deployments.names)
        assert models.routings.find(name) is None
        assert recommended_by(http, model=name) == "made-1"
    finally:
        assert http.portal is not None
        http.portal.call(may_swap.set)
        del models._swap
        post(http, "deactivate", name)


def test_a_name_that_is_deactivated_answers_nobody_until_a_rollback(
    named_pair: list[TestClient], name: str
) -> None:
    answer = post(named_pair[0], "deactivate", name)
    assert answer.json() == {"model": name, "previous": "rated-1"}
    for http in named_pair:
        body = {"model": name, "user_id": "u1"}
        assert http.post("/recommend", json=body).status_code == 422
    wait_for(
        lambda: all(one["loaded"] == ["made-1"] for one in deployment(named_pair[0])["workers"])
    )
    found = deployment(named_pair[1], name)
    assert (found["active"], found["previous"]) == (None, ["rated-1"])
    assert found["audit"][0]["what"] == "deactivate, before rated-1"
    assert name not in {one["model"] for one in found["names"]}
    assert post(named_pair[0], "deactivate", name).status_code == 404
    assert post(named_pair[0], "rollback", name).json()["active"] == "rated-1"
    assert [rated_by(http, name) for http in named_pair] == ["rated-1", "rated-1"]
    # The generations go on, so that no worker takes an old record for the new one.
    assert deployment(named_pair[1], name)["generation"] == 3


def test_the_default_cannot_be_deactivated_nor_a_name_that_is_unknown(
    named_pair: list[TestClient],
) -> None:
    answer = named_pair[0].post("/admin/models/deactivate?model=default", headers=AS_ADMIN)
    assert answer.status_code == 409
    assert "can't be deactivated" in answer.json()["detail"]
    answer = post(named_pair[0], "deactivate", "nobody")
    assert answer.status_code == 404
    assert "'nobody': no version is active under this name" in answer.json()["detail"]
    assert named_pair[0].post("/admin/models/deactivate", headers=AS_ADMIN).status_code == 422
    assert named_pair[0].get("/admin/deployment?model=nobody", headers=AS_ADMIN).status_code == 404


def test_a_version_that_one_worker_cannot_load_reaches_none(
    named_pair: list[TestClient], name: str
) -> None:
    models = service_of(named_pair[1]).models

    async def fail(_version: str) -> None:
        raise BundleError("too little memory here")

    models.versions._open = fail
    try:
        answer = post(named_pair[0], "rated-2/activate", name)
    finally:
        del models.versions._open
    assert answer.status_code == 424
    assert [rated_by(http, name) for http in named_pair] == ["rated-1", "rated-1"]
    assert deployment(named_pair[0], name)["active"] == "rated-1"


def test_a_version_is_not_retired_while_it_is_active_under_a_name(
    named_pair: list[TestClient], name: str, server: redis.Redis, shop: Path
) -> None:
    rollout = Rollout(server, shop / "bundles", "a test")
    with pytest.raises(RegistryError, match=f"'rated-1' is active under the name '{name}'; act"):
        rollout.retire("rated-1")
    states = named_pair[0].get("/admin/models", headers=AS_ADMIN).json()["models"]
    [state] = [one for one in states if one["version"] == "rated-1"]
    assert (state["state"], state["names"], state["active"]) == (
        *(f"serving as {name}", [name], False),
    )
    assert state["memory_bytes"] > 0


def test_a_retired_version_is_gone_from_the_records_of_all_names(
    named_pair: list[TestClient], name: str, server: redis.Redis, shop: Path
) -> None:
    made = make_catalogue(seed=9)
    bundle = make_rating_bundle(shop / "rated-3", version="rated-3", catalogue=made)
    publish(bundle, shop / "bundles", server)
    for version in ("rated-3", "rated-2"):
        assert post(named_pair[0], f"{version}/activate", name).status_code == 200
    Rollout(server, shop / "bundles", "a test").retire("rated-3")
    found = deployment(named_pair[0], name)
    assert found["previous"] == ["rated-1"]
    assert found["audit"][0]["what"] == "retire rated-3"


def test_who_joins_late_answers_under_all_names(
    named_pair: list[TestClient], name: str, store: EmbeddedStore, shop: Path
) -> None:
    with serving(settings_for(store.url, shop)) as late:
        assert (rated_by(late, name), recommended_by(late)) == ("rated-1", "made-1")


def test_without_the_store_a_service_goes_on_with_all_names(
    named_pair: list[TestClient], name: str, store: EmbeddedStore, shop: Path
) -> None:
    with serving(settings_for("redis://127.0.0.1:1", shop, store_timeout_ms=50)) as alone:
        assert (rated_by(alone, name), recommended_by(alone)) == ("rated-1", "made-1")


def test_one_version_under_two_names_is_loaded_once(
    named_pair: list[TestClient], name: str
) -> None:
    assert post(named_pair[0], "made-1/activate", name).status_code == 200
    assert recommended_by(named_pair[1], model=name) == "made-1"
    wait_for(
        lambda: all(one["loaded"] == ["made-1"] for one in deployment(named_pair[0])["workers"])
    )
    models = service_of(named_pair[1]).models
    assert models.routings.find(name).active is models.current


def test_changes_of_items_and_rules_reach_the_versions_of_all_names(
    named_pair: list[TestClient], name: str
) -> None:
    everything = {"user_id": "u3", "k": 100, "model": name, "exclude_seen": False}

    def items(http: TestClient) -> set[str]:
        found = http.post("/recommend", json=everything).json()["items"]
        return {one["item_id"] for one in found}

    def put(path: str, body: object) -> None:
        answer = named_pair[0].put(path, headers=AS_ADMIN, json=body)
        assert answer.status_code == 200, answer.text

    assert {"i7", "i8"} <= items(named_pair[1])
    put("/admin/items", {"items": [{"item_id": "i7", "available": False}]})
    put("/admin/rules", {"rules": [{"name": "r", "action": "hide", "item_ids": ["i8"]}]})
    try:
        assert "i8" not in items(named_pair[1])
        wait_for(lambda: "i7" not in items(named_pair[1]))
    finally:
        put("/admin/items", {"items": [{"item_id": "i7", "available": True}]})
        put("/admin/rules", {"rules": []})
    wait_for(lambda: {"i7", "i8"} <= items(named_pair[1]))


def test_workers_of_an_earlier_release_hold_nobody_up(
    named_pair: list[TestClient], name: str, server: redis.Redis
) -> None:
    """They write no `names`, load what a rollout wants, and follow the default's record alone."""
    document = server.get(keys.DEPLOYMENT)
    old = WorkerState(
        id="old", host="h", pid=1, version="made-1", generation=9, state="ready",
        loaded=("made-1", "rated-2"),
    )  # fmt: skip
    [(command, *arguments), joining] = report_commands(old)
    state = json.loads(str(arguments[1]))
    del state["names"]
    arguments[1], arguments[3] = json.dumps(state), 60_000
    server.execute_command(command, *arguments)
    server.execute_command(*joining)
    try:
        assert post(named_pair[0], "rated-2/activate", name).json()["workers"] == 2
    finally:
        server.delete(keys.worker_key("old"))
    # What earlier releases read is untouched.
    assert server.get(keys.DEPLOYMENT) == document
