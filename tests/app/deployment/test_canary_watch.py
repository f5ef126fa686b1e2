"""A canary that is worse is taken back by the service itself; one that isn't stays."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.canary.counts import Counts, total
from app.canary.outcomes import Outcomes
from model_store import keys
from model_store.deployment import who
from model_store.errors import RegistryError, StoreError
from model_store.id_map import IdMap
from model_store.publication import publish
from model_store.registry import Registry
from tests.app.conftest import (
    AS_ADMIN,
    service_of,
    wait_for,
)
from tests.synthetic_bundle import make_bundle, make_catalogue


@pytest.fixture
def try_one(own_http: TestClient, client: redis.Redis, folder: Path) -> Any:
    """Publish a bundle as `made-2` and let it answer half of the users."""

    def start(**changes: Any) -> dict[str, Any]:
        choices: dict[str, Any] = {"catalogue": make_catalogue(seed=8), **changes}
        publish(make_bundle(folder / "2", version="made-2", **choices), folder / "bundles", client)
        answer = own_http.post(
            "/admin/models/made-2/canary", headers=AS_ADMIN, json={"percent": 50}
        )
        assert answer.status_code == 200, answer.text
        return canary(own_http)

    return start


def deployment(http: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/admin/deployment", headers=AS_ADMIN).json()
    return found


def canary(http: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = deployment(http)["canary"]
    return found


def ask(http: TestClient, n: int, **changes: Any) -> list[int]:
    return [
        http.post("/recommend", json={"user_id": f"user {one}", "k": 3, **changes}).status_code
        for one in range(n)
    ]


def versions_of_known_users(http: TestClient) -> set[str]:
    """The versions that answer those whose histories the active one has."""
    asked = ({"user_id": user_id, "k": 3} for user_id in make_catalogue().histories)
    return {http.post("/recommend", json=body).json()["model_version"] for body in asked}


def test_outcomes_are_counted_for_the_version_that_answers(
    own_http: TestClient, try_one: Any
) -> None:
    assert try_one()["verdict"]["reason"] == "no answers of the canary yet"
    ask(own_http, 40)
    ask(
        own_http, 1, filters={"nothing": {"any": ["x"]}}
    )  # the caller's fault says nothing of a model
    watch = service_of(own_http).canary_watch
    wait_for(lambda: "are needed" in canary(own_http)["verdict"]["reason"])
    counts = watch._counts[canary(own_http)["epoch"]]
    assert counts.active.answers + counts.canary.answers == 40
    assert counts.canary.answers > 5
    assert counts.active.errors == counts.canary.errors == 0
    assert canary(own_http)["verdict"]["word"] == "waiting"


def test_a_canary_that_fails_is_taken_back_with_its_reason(
    own_http: TestClient, try_one: Any, caplog: pytest.LogCaptureFixture
) -> None:
    try_one()
    model = service_of(own_http).models.find("made-2")
    object.__setattr__(model, "popularity", None)  # every answer of it is a 500
    assert 500 in ask(own_http, 60)
    wait_for(lambda: canary(own_http) is None)
    entry = deployment(own_http)["audit"][0]
    assert (entry["who"], entry["why"]) == (who(), "the canary's verdict")
    newest = entry["what"]
    assert newest.startswith("take the canary back: made-2: errors ")
    assert "active 0 % of" in newest
    wait_for(lambda: service_of(own_http).models.find("made-2") is None)
    assert set(ask(own_http, 20)) == {200}
    assert "longtail_canaries_taken_back_total 1.0" in own_http.get("/metrics").text
    assert any("the canary was taken back: made-2" in one.message for one in caplog.records)


def test_a_canary_with_short_answers_is_taken_back(own_http: TestClient, try_one: Any) -> None:
    try_one(catalogue=make_catalogue(n_items=16))
    assert set(ask(own_http, 60, k=20)) == {200}
    wait_for(lambda: canary(own_http) is None)
    assert "short" in deployment(own_http)["audit"][0]["what"]


def test_a_canary_of_another_catalogue_is_taken_back(own_http: TestClient, try_one: Any) -> None:
    catalogue = make_catalogue(seed=8)
    others = IdMap([f"other {item_id}" for item_id in catalogue.ids.ids])
    try_one(catalogue=replace(catalogue, ids=others))
    assert set(ask(own_http, 60, history=["i1", "i2"])) == {200}
    wait_for(lambda: canary(own_http) is None)
    newest = deployment(own_http)["audit"][0]["what"]
    assert "degraded 100.0 % of" in newest, newest


def test_a_canary_that_lacks_the_histories_of_users_is_taken_back(
    own_http: TestClient, try_one: Any
) -> None:
    """It answers whom the active version knows by popularity, which is no degraded answer."""
    catalogue = make_catalogue(seed=8)
    others = {f"other {user_id}": had for user_id, had in catalogue.histories.items()}
    try_one(catalogue=replace(catalogue, histories=others))
    while len(versions_of_known_users(own_http)) == 1:  # all in one; another canary has other users
        for percent in (0, 50):
            body = {"percent": percent}
            own_http.post("/admin/models/made-2/canary", headers=AS_ADMIN, json=body)

    def is_gone() -> bool:
        versions_of_known_users(own_http)  # with few users of one version, it takes more answers
        return canary(own_http) is None

    wait_for(is_gone)
    newest = deployment(own_http)["audit"][0]["what"]
    assert ": popular 100.0 % of" in newest, newest


def test_counts_of_all_workers_are_judged_and_damaged_ones_left_out(
    own_http: TestClient, try_one: Any, client: redis.Redis
) -> None:
    epoch = try_one()["epoch"]
    bad = Counts(Outcomes(), Outcomes())
    for _ in range(400):
        bad.active.record(0.001)
        bad.canary.record(0.001, error=True)
    client.hset(keys.outcomes_key(epoch), "damaged", b"[1")
    client.hset(keys.outcomes_key(epoch), "elsewhere", bad.to_json())
    wait_for(lambda: canary(own_http) is None)
    assert "errors 100.0 % of 400 answers" in deployment(own_http)["audit"][0]["what"]
    assert client.ttl(keys.outcomes_key(epoch)) > 0


def test_counts_begin_anew_with_another_share(own_http: TestClient, try_one: Any) -> None:
    first = try_one()
    ask(own_http, 20)
    again = own_http.post("/admin/models/made-2/canary", headers=AS_ADMIN, json={"percent": 60})
    assert again.status_code == 200
    now = canary(own_http)
    assert now["epoch"] != first["epoch"]
    assert now["since"] == first["since"]
    assert now["verdict"]["reason"] == "no answers of the canary yet"
    ask(own_http, 10)
    counts = service_of(own_http).canary_watch._counts[now["epoch"]]
    assert counts.active.answers + counts.canary.answers == 10


def test_a_worker_without_the_active_version_counts_nothing(
    own_http: TestClient, try_one: Any, client: redis.Redis, folder: Path
) -> None:
    """It goes on with an earlier version, whose answers tell nothing of the active one."""
    try_one()
    third = make_bundle(folder / "3", version="made-3", catalogue=make_catalogue(seed=9))
    publish(third, folder / "bundles", client)
    shutil.rmtree(folder / "bundles" / "made-3")
    shutil.rmtree(folder / "3")
    Registry(client).activate("made-3")
    wait_for(lambda: "made-3" in service_of(own_http).models.versions.rejected)
    epoch = canary(own_http)["epoch"]
    wait_for(lambda: service_of(own_http).models.routing.trial.epoch == epoch)
    assert set(ask(own_http, 20)) == {200}
    counts = service_of(own_http).canary_watch._counts.get(epoch, Counts())
    assert counts.active.answers == counts.canary.answers == 0


def test_a_canary_that_an_operator_changed_meanwhile_stays(
    own_http: TestClient, try_one: Any, client: redis.Redis
) -> None:
    old = try_one()["epoch"]
    own_http.post("/admin/models/made-2/canary", headers=AS_ADMIN, json={"percent": 60})
    with pytest.raises(RegistryError, match="was changed meanwhile"):
        Registry(client).take_back(old, "late")
    assert canary(own_http)["percent"] == 60


def test_counts_survive_json_and_add_up() -> None:
    counts = Counts()
    counts.active.record(0.002)
    counts.canary.record(0.5, degraded=True)
    back = Counts.from_json(counts.to_json().encode())
    assert back == counts
    assert total([back, counts]).canary.degraded == 2
    assert total([]) == Counts()
    for damaged in (b"", b"[]", b"7", b'["x","y"]', json.dumps(["{}", "{}"]).encode()):
        with pytest.raises(StoreError):
            Counts.from_json(damaged)
