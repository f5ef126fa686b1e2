"""A version is brought to all workers at once, or to none of them."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.deployment import watcher
from app.deployment.bundle_folders import BundleFolders
from app.deployment.models import Models
from app.deployment.worker_report import WorkerReport
from app.models_command import describe_lost
from app.store.versions import VersionStore
from model_store import keys, preparation
from model_store.attributes import ItemAttributes
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import BundleError, RegistryError
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.publication import publish
from model_store.registry import Registry
from model_store.rollout import Rollout
from model_store.workers import WorkerState, live_workers, report_commands
from tests.app.conftest import (
    PATIENCE_S,
    publish_and_activate,
    service_of,
    serving,
    settings_for,
    wait_for,
)
from tests.app.deployment.conftest import version_of
from tests.app.deployment.named_models import deployment, post
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue


def test_an_activation_is_over_when_every_worker_answers_with_the_version(
    two: list[TestClient], second: str
) -> None:
    answer = post(two[0], f"{second}/activate")
    assert answer.status_code == 200, answer.text
    assert answer.json()["workers"] == 2
    # At once, although the other service looks at the store five times a second only.
    assert [version_of(http) for http in two] == [second, second]
    found = deployment(two[1])
    assert (found["active"], found["canary"], found["previous"]) == (second, None, ["made-1"])
    assert [one["version"] for one in found["workers"]] == [second, second]
    assert {one["generation"] for one in found["workers"]} == {found["generation"]}
    assert {one["state"] for one in found["workers"]} == {"ready"}
    assert all(one["loaded"] == [second] for one in found["workers"])
    assert found["audit"][0]["what"] == "activate made-2, before made-1"
    assert found["audit"][0]["why"] == "admin API"
    assert post(two[1], "rollback").status_code == 200
    assert [version_of(http) for http in two] == ["made-1", "made-1"]


@pytest.fixture
def patient(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path
) -> Iterator[TestClient]:
    """A service that looks at the record when it is told to. A whole look is due once a minute."""
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder, watch_interval_ms=60_000)) as http:
        assert http.portal is not None
        http.portal.call(service_of(http).operations.watcher.stop)
        yield http


def test_a_look_that_finds_nothing_new_does_nothing_else(
    patient: TestClient, client: redis.Redis, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def note(owner: type, name: str) -> None:
        call = getattr(owner, name)

        async def noted(*arguments: Any) -> Any:
            done.append(name)
            return await call(*arguments)

        monkeypatch.setattr(owner, name, noted)

    note(VersionStore, "followed")
    note(Models, "route")
    note(WorkerReport, "send_changes")
    follow = service_of(patient).operations.watcher.follow
    assert patient.portal is not None
    done.clear()
    for _ in range(5):  # as often as during a rollout
        patient.portal.call(follow)
    assert done == ["followed"] * 5
    # Another one's change is seen by the next look; what was done is told before any other.
    Registry(client).activate(second)
    done.clear()
    patient.portal.call(follow)
    assert version_of(patient) == second
    assert "route" in done
    assert all(
        pair == ("send_changes", "followed") for pair in pairwise(done) if pair[1] == "followed"
    )
    assert done[-1] == "send_changes"
    done.clear()
    patient.portal.call(follow)
    assert done == ["followed"]


def test_each_look_tries_what_is_not_loaded_yet(
    patient: TestClient, client: redis.Redis, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = service_of(patient)
    assert patient.portal is not None
    is_here = False

    async def find(_self: BundleFolders, _version: str) -> bool:
        return is_here

    monkeypatch.setattr(BundleFolders, "is_here", find)
    preparing = preparation.Preparing(versions=(second,), token="t", who="a", why="a test")
    client.set(keys.PREPARING, preparing.model_dump_json())
    for _ in range(3):
        patient.portal.call(service.operations.watcher.follow)
    assert second not in service.models.loaded
    is_here = True  # it has been downloaded; the store says the same as before
    patient.portal.call(service.operations.watcher.follow)
    assert second in service.models.loaded


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BundleError("too little memory here"), ": too little memory here; the running"),
        (KeyError("nobody thought of this"), ": KeyError: 'nobody thought of this'; the running"),
    ],
)
def test_a_version_that_one_worker_cannot_load_reaches_none(
    two: list[TestClient],
    second: str,
    client: redis.Redis,
    error: Exception,
    reason: str,
) -> None:
    models = service_of(two[1]).models

    async def fail(_version: str) -> None:
        raise error

    models.versions._open = fail
    answer = post(two[0], f"{second}/activate")
    assert answer.status_code == 424
    assert reason in answer.json()["detail"]
    assert "worker " in answer.json()["detail"]
    assert [version_of(http) for http in two] == ["made-1", "made-1"]
    assert deployment(two[0])["active"] == "made-1"
    assert client.get(keys.PREPARING) is None
    # It is not kept in memory for nothing, and another attempt is a new one.
    wait_for(lambda: all(one["loaded"] == ["made-1"] for one in deployment(two[0])["workers"]))
    del models.versions._open
    assert post(two[0], f"{second}/activate").status_code == 200
    assert [version_of(http) for http in two] == [second, second]


def test_the_command_line_waits_for_the_workers_too(
    two: list[TestClient], second: str, folder: Path, client: redis.Redis
) -> None:
    seen: list[tuple[str, int, int]] = []
    to_all = Rollout(client, folder / "bundles", "a test", lambda *one: seen.append(one))
    rolled = to_all.activate(second)
    assert (rolled.active, rolled.previous, rolled.workers) == (second, "made-1", 2)
    assert [version_of(http) for http in two] == [second, second]
    assert seen[-1] == ("following", 2, 2)
    assert ("loading", 2, 2) in seen
    assert to_all.rollback().active == "made-1"
    assert [version_of(http) for http in two] == ["made-1", "made-1"]


def test_two_operators_do_not_meet(
    two: list[TestClient], second: str, folder: Path, client: redis.Redis
) -> None:
    client.set(
        keys.PREPARING,
        preparation.Preparing(
            versions=("made-1",), token="t", who="eve@far", why="x"
        ).model_dump_json(),
    )
    answer = post(two[0], f"{second}/activate")
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        "version 'made-1' is being brought to the workers by eve@far (x)"
    )
    client.delete(keys.PREPARING)
    assert post(two[0], f"{second}/activate").status_code == 200


def test_what_an_operator_who_was_killed_has_asked_for_expires(
    two: list[TestClient], second: str, client: redis.Redis
) -> None:
    asked = preparation.Preparing(
        versions=(second,), token="t", who="eve@far", why="x"
    ).model_dump_json()
    client.set(keys.PREPARING, asked, px=60_000)
    wait_for(lambda: all(second in one["loaded"] for one in deployment(two[0])["workers"]))
    client.pexpire(keys.PREPARING, 1)
    wait_for(lambda: all(one["loaded"] == ["made-1"] for one in deployment(two[0])["workers"]))
    assert [version_of(http) for http in two] == ["made-1", "made-1"]


def test_a_worker_that_is_gone_holds_nothing_up(
    two: list[TestClient], second: str, client: redis.Redis
) -> None:
    dead = WorkerState(id="x", host="h", pid=1, version="made-1", generation=1, state="ready")
    for command in report_commands(dead):
        client.execute_command(*command)
    assert len(live_workers(client)) == 3
    client.pexpire(keys.worker_key("x"), 300)  # while the others load the version
    assert post(two[0], f"{second}/activate").json()["workers"] == 2
    assert client.scard(keys.WORKERS) == 2


def test_a_worker_whose_report_is_lost_takes_part_in_what_it_is_asked_for(
    store: EmbeddedStore,
    good: str,
    client: redis.Redis,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where the store was just emptied, or the process paused for longer than reports hold."""
    monkeypatch.setattr(watcher, "REPORT_S", PATIENCE_S)
    lying = make_bundle(tmp_path / "lying", version="lying", with_wrong_golden=True)
    publish(lying, folder / "bundles", client)
    with serving(settings_for(store.url, folder, watch_interval_ms=60_000)) as http:
        [worker] = live_workers(client)
        client.delete(keys.worker_key(worker.id))
        answer = post(http, "lying/activate")
        assert answer.status_code == 424, answer.text
        assert "golden request 0" in answer.json()["detail"]
        assert version_of(http) == good
        assert deployment(http)["active"] == good


def test_a_worker_leaves_at_its_end(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path
) -> None:
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        [worker] = deployment(http)["workers"]
        assert (worker["version"], worker["state"]) == ("made-1", "ready")
    assert live_workers(client) == []


def test_a_version_is_retired_when_no_worker_answers_with_it(
    two: list[TestClient], second: str, client: redis.Redis, folder: Path
) -> None:
    to_all = Rollout(client, folder / "bundles", "a test")
    with pytest.raises(RegistryError, match="is active"):
        to_all.retire("made-1")
    to_all.canary(second, 5)
    with pytest.raises(RegistryError, match="is the canary"):
        to_all.retire(second)
    to_all.canary(second, 0)
    Registry(client).activate(second)  # the workers follow later
    to_all.retire("made-1")
    assert [version_of(http) for http in two] == [second, second]
    assert not client.keys(keys.version_pattern("made-1"))

    stuck = WorkerState(
        id="x", host="h", pid=7, version="made-1", generation=1, state="ready", loaded=("made-3",)
    )
    third = make_bundle(folder / "3", version="made-3", catalogue=make_catalogue(seed=9))
    publish(third, folder / "bundles", client)
    for command in report_commands(stuck):
        client.execute_command(*command)
    with pytest.raises(RegistryError, match="worker 7 on h: still at version 'made-3'"):
        to_all.retire("made-3", wait_s=0.1)
    assert client.keys(keys.version_pattern("made-3"))


def test_fresh_items_are_carried_over_or_counted(
    two: list[TestClient], client: redis.Redis, catalogue: Catalogue, folder: Path, tmp_path: Path
) -> None:
    new = FreshItem("new film", catalogue.knowledge[3], {"title": "New Film"})
    assert publish_fresh([new], client, encoder="made") == {"made-1": 1}
    wait_for(lambda: two[0].get("/health/ready").json()["fresh_items"] == 1)
    # Published afterwards, so that the item was never given to them.
    same = make_bundle(tmp_path / "same", version="same", catalogue=make_catalogue(seed=8))
    without = make_bundle(tmp_path / "without", version="without", with_encoder=False)
    for bundle in (same, without):
        publish(bundle, folder / "bundles", client)
    assert Rollout(client, folder / "bundles", "x").lost_items("same") == 0
    assert Rollout(client, folder / "bundles", "x").lost_items("without") == 1
    records = Registry(client)
    assert describe_lost(1, records.get("without")) == (
        "1 fresh item of the active version won't be known to without; without a text encoder it "
        "takes none"
    )
    assert "`longtail publish --fresh-items FILE`" in describe_lost(2, records.get("same"))
    assert post(two[0], "same/activate").json()["fresh_items"] == {"carried": 1, "lost": 0}
    assert [http.get("/health/ready").json()["fresh_items"] for http in two] == [1, 1]
    answer = two[1].post("/recommend", json={"history": ["new film"], "fields": ["title"]}).json()
    assert answer["served_by"] == "model"
    assert post(two[0], "without/activate").json()["fresh_items"] == {"carried": 0, "lost": 1}


def test_a_version_without_an_attribute_of_the_active_one_needs_force(
    two: list[TestClient], client: redis.Redis, catalogue: Catalogue, folder: Path, tmp_path: Path
) -> None:
    kept = [catalogue.attributes.get(name) for name in ("title", "year")]
    fewer = ItemAttributes([one for one in kept if one is not None], len(catalogue.ids))
    poorer = make_bundle(
        tmp_path / "poorer",
        version="poorer",
        catalogue=dataclasses.replace(catalogue, attributes=fewer),
    )
    publish(poorer, folder / "bundles", client)
    for path, body in (("poorer/activate", None), ("poorer/canary", {"percent": 1})):
        answer = post(two[0], path, body=body)
        assert answer.status_code == 409
        assert "lacks attributes of 'made-1': genres (list)" in answer.json()["detail"]
    assert version_of(two[0]) == "made-1"
    assert post(two[0], "poorer/activate?force=true").status_code == 200
    assert version_of(two[0]) == "poorer"
    # Back to more attributes, which needs none.
    assert post(two[0], "made-1/activate").status_code == 200


def test_a_store_that_is_emptied_leaves_everybody_at_the_active_version(
    two: list[TestClient], second: str, client: redis.Redis
) -> None:
    post(two[0], f"{second}/activate")
    client.flushall()
    wait_for(lambda: len(live_workers(client)) == 2)
    assert [version_of(http) for http in two] == [second, second]


def test_a_swap_leaves_no_garbage_frozen(
    two: list[TestClient],
    second: str,
    freeze: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gc, "freeze", freeze)
    gc.unfreeze()  # what tests before this one have left
    gc.collect()
    gc.freeze()
    for version in (second, "made-1") * 3:
        assert post(two[0], f"{version}/activate").status_code == 200
    gc.collect()
    gc.unfreeze()
    try:
        n_left = gc.collect()
    finally:
        gc.freeze()
    # Those of the last moments, usually none; frozen with each load they were 1,864.
    assert n_left < 1_000


def test_an_operator_whose_lease_went_to_another_gives_up(
    client: redis.Redis, synthetic_bundle: Bundle, store: EmbeddedStore, folder: Path
) -> None:
    """As after a pause of the process that is longer than the lease."""
    publish_and_activate(synthetic_bundle, folder, store.url)
    slow = WorkerState(id="x", host="h", pid=1, version="made-1", generation=1, state="ready")
    for command in report_commands(slow):
        client.execute_command(*command)
    other = preparation.Preparing(versions=("made-1",), token="t", who="eve@far", why="x")

    def take_over(_what: str, _done: int, _total: int) -> None:
        client.set(keys.PREPARING, other.model_dump_json())

    mine = Rollout(client, folder / "bundles", "a test", take_over)
    with pytest.raises(RegistryError, match="'made-1' is being brought to the workers by eve@far"):
        mine.activate("made-1")
    assert preparation.read_preparing(client.get(keys.PREPARING)) == other
