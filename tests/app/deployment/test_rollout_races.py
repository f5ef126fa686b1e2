"""What two who change the record at once leave, and what a store that goes away meanwhile hides."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import BundleError, RegistryError, RolloutInProgress, StoreAway
from model_store.preparation import Preparation
from model_store.publication import publish
from model_store.registry import Registry
from model_store.rollout import Rollout
from model_store.store import connect
from tests.app.conftest import (
    AS_ADMIN,
    publish_and_activate,
    service_of,
    serving,
    settings_for,
    wait_for,
)
from tests.app.deployment.named_models import deployment
from tests.app.deployment.test_names import rated_by
from tests.synthetic_bundle import make_bundle, make_catalogue


def change(http: TestClient, path: str, generation: int, body: object = None) -> Any:
    query = {"generation": generation}
    return http.post(f"/admin/models/{path}", headers=AS_ADMIN, params=query, json=body)


@pytest.fixture
def rollout(client: redis.Redis, good: str, second: str, folder: Path) -> Any:
    """A rollout of an operator, of a store without workers."""

    def make(**options: Any) -> Rollout:
        return Rollout(client, folder / "bundles", "a test", **options)

    return make


def test_a_change_that_was_decided_on_another_record_is_not_made(
    own_http: TestClient, second: str, client: redis.Redis
) -> None:
    assert change(own_http, f"{second}/canary", 1, {"percent": 5}).status_code == 200
    seen = deployment(own_http)
    assert seen["generation"] == 2
    # The verdict comes first, and who moves the slider has not seen it.
    Registry(client).take_back(seen["canary"]["epoch"], "made-2: errors 9 % of 500 answers")
    late = change(own_http, f"{second}/canary", 2, {"percent": 10})
    assert late.status_code == 409
    assert late.json()["detail"] == (
        "the deployment record was changed meanwhile (its generation is 3, not 2; the last change: "
        "take the canary back: made-2: errors 9 % of 500 answers); look before going on"
    )
    shadow, arms = {"share": 5}, [{"name": "a", "share": 50}, {"name": "b", "share": 50}]
    for path, body in (
        (f"{second}/activate", None),
        (f"{second}/promote", None),
        (f"{second}/shadow", shadow),
        ("rollback", None),
    ):
        assert change(own_http, path, 2, body).status_code == 409, path
    started = own_http.post(
        "/admin/experiments?generation=2", headers=AS_ADMIN, json={"name": "x", "arms": arms}
    )
    assert started.status_code == 409
    assert deployment(own_http)["generation"] == 3
    assert service_of(own_http).models.loaded == ("made-1",)
    assert change(own_http, f"{second}/activate", 3).status_code == 200
    # Another operator's activation: the version to go back to is not the one that was shown.
    Registry(client).activate("made-1")
    assert change(own_http, "rollback", 4).status_code == 409
    assert deployment(own_http)["active"] == "made-1"


def test_nor_is_one_whose_record_changes_while_the_workers_load(
    rollout: Any, client: redis.Redis, second: str
) -> None:
    def interfere(what: str, _done: int, _total: int) -> None:
        if what == "loading":
            Registry(client).canary(second, 5)

    with pytest.raises(RegistryError, match="its generation is 2, not 1; the last change: canary"):
        rollout(report=interfere, seen=1).activate(second)
    assert Registry(client).active() == "made-1"
    assert client.get(keys.PREPARING) is None


def test_an_operator_whose_lease_has_ended_changes_nothing(
    rollout: Any, client: redis.Redis, second: str
) -> None:
    """As after a pause of the process: the workers have let go of the version by then."""

    def pause(what: str, _done: int, _total: int) -> None:
        if what == "loading":
            client.delete(keys.PREPARING)

    for begin in (
        lambda to_all: to_all.activate(second),
        lambda to_all: to_all.canary(second, 5),
        lambda to_all: to_all.shadow(second, 5),
    ):
        with pytest.raises(RolloutInProgress, match="nothing is changed: it took more than 5 s"):
            begin(rollout(report=pause))
    assert Registry(client).deployment().generation == 1


def test_what_cannot_be_is_said_before_anybody_loads_a_version(
    rollout: Any, client: redis.Redis, second: str
) -> None:
    seen: list[object] = []
    with pytest.raises(RegistryError, match="'made-2' is not the canary"):
        rollout(report=lambda *one: seen.append(one)).promote(second)
    assert seen == []


@pytest.fixture
def own_store(tmp_path: Path) -> Any:
    with EmbeddedStore(tmp_path / "own-store") as store:
        yield store


def test_a_store_that_goes_away_hides_neither_a_reason_nor_a_change(
    own_store: EmbeddedStore, synthetic_bundle: Bundle, folder: Path
) -> None:
    publish_and_activate(synthetic_bundle, folder, own_store.url)
    other = make_bundle(folder / "2", version="made-2", catalogue=make_catalogue(seed=8))
    client = connect(own_store.url)
    publish(other, folder / "bundles", client)

    def end(what: str, _done: int, _total: int) -> None:
        if what == "following":
            own_store.stop()

    to_all = Rollout(client, folder / "bundles", "a test", end)
    with pytest.raises(StoreAway, match="the change is made, but whether all workers follow it"):
        to_all.activate("made-2")
    with EmbeddedStore(own_store.folder) as again, connect(again.url) as second_client:
        assert Registry(second_client).active() == "made-2"
        preparation = Preparation(second_client, "eve@far", "a test", lambda *_: None)
        with pytest.raises(BundleError, match="too little memory"), preparation.of("made-1"):
            again.stop()
            raise BundleError("too little memory")


def test_while_the_store_hangs_operators_hold_up_nobody_else(
    own_store: EmbeddedStore, synthetic_bundle: Bundle, folder: Path
) -> None:
    """The console asks again and again, and each question waits for a quarter of a minute."""
    publish_and_activate(synthetic_bundle, folder, own_store.url)
    assert own_store.pid is not None
    settings = settings_for(own_store.url, folder, store_timeout_ms=50)
    with serving(settings) as http, ThreadPoolExecutor(20) as threads:
        os.kill(own_store.pid, signal.SIGSTOP)
        try:
            asked = [
                threads.submit(http.get, "/admin/deployment", headers=AS_ADMIN) for _ in range(18)
            ]
            time.sleep(0.2)
            # Both need a thread of the service: the second as its body is long.
            scraped = threads.submit(http.get, "/metrics")
            long = {"user_id": "u1", "exclude": ["x" * 500] * 200}
            answered = threads.submit(http.post, "/recommend", json=long)
            assert scraped.result(4).status_code == answered.result(4).status_code == 200
        finally:
            os.kill(own_store.pid, signal.SIGCONT)
        assert {one.result().status_code for one in asked} == {200}


def test_a_name_that_is_made_anew_is_followed_anew(
    named_pair: list[TestClient], name: str, server: redis.Redis
) -> None:
    """Records of names that ended long ago are forgotten, and begin at generation 1 again."""
    http = named_pair[0]
    for path in ("rated-2/activate", "rated-1/activate", "deactivate"):
        answer = http.post(f"/admin/models/{path}", headers=AS_ADMIN, params={"model": name})
        assert answer.status_code == 200, answer.text
    server.hdel(keys.DEPLOYMENTS, name)
    for one in named_pair:
        followed = service_of(one).models.routings.generations
        wait_for(lambda found=followed: name not in found)  # type: ignore[misc]
    answer = http.post("/admin/models/rated-2/activate", headers=AS_ADMIN, params={"model": name})
    assert answer.json()["workers"] == 2
    assert [rated_by(one, name) for one in named_pair] == ["rated-2"] * 2
    workers = deployment(http, name)["workers"]
    assert [(one["version"], one["generation"]) for one in workers] == [("rated-2", 1)] * 2
