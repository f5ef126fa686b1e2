"""Activation, rejection, rollback, fresh items and overload of a running service."""

from __future__ import annotations

import contextlib
import gc
import json
import re
import shutil
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from starlette.testclient import TestClient

from app.main import create_app
from app.model.model import load_model
from model_store.bundle import Bundle
from model_store.bundle_writer import BundleWriter
from model_store.embedded import EmbeddedStore
from model_store.errors import BundleError
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.golden import TOLERANCE
from model_store.publication import publish
from model_store.registry import Registry
from tests.app.conftest import (
    AS_ADMIN,
    publish_and_activate,
    service_of,
    serving,
    settings_for,
    wait_for,
    wait_until_started,
)
from tests.synthetic_bundle import Catalogue, make_bundle


def version_of(http: TestClient) -> str:
    response = http.post("/recommend", json={"user_id": "u1"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["served_by"] == "model"
    assert response.headers["X-Model-Version"] == answer["model_version"]
    return str(answer["model_version"])


def activate(http: TestClient, version: str) -> Any:
    return http.post(f"/admin/models/{version}/activate", headers=AS_ADMIN)


def test_activate_and_roll_back(own_http: TestClient, second: str, client: redis.Redis) -> None:
    assert version_of(own_http) == "made-1"
    nothing = {"carried": 0, "lost": 0}
    assert activate(own_http, second).json() == {
        "active": "made-2", "model": "default", "previous": "made-1", "workers": 1,
        "fresh_items": nothing, "rule_warnings": [],
    }  # fmt: skip
    assert version_of(own_http) == "made-2"
    assert Registry(client).active() == "made-2"
    listed = own_http.get("/admin/models", headers=AS_ADMIN).json()
    assert listed["active"] == "made-2"
    assert [(m["version"], m["state"], m["active"]) for m in listed["models"]] == [
        ("made-1", "published", False),
        ("made-2", "serving", True),
    ]
    back = own_http.post("/admin/models/rollback", headers=AS_ADMIN)
    assert (back.json()["active"], back.json()["previous"]) == ("made-1", "made-2")
    assert version_of(own_http) == "made-1"
    assert own_http.post("/admin/models/rollback", headers=AS_ADMIN).status_code == 409


def test_the_model_that_was_left_is_let_go(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path, second: str
) -> None:
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        version_of(http)
        old = weakref.ref(service_of(http).models.current)
        activate(http, second)
        # The background may be in the middle of looking for its fresh items.
        wait_for(lambda: gc.collect() >= 0 and old() is None)


def test_a_bundle_that_fails_is_rejected_and_the_running_version_stays(
    own_http: TestClient, client: redis.Redis, folder: Path, tmp_path: Path, second: str
) -> None:
    lying = make_bundle(tmp_path / "lying", version="lying", with_wrong_golden=True)
    publish(lying, folder / "bundles", client)
    response = activate(own_http, "lying")
    assert response.status_code == 424
    assert "golden request 0" in response.json()["detail"]

    table = folder / "bundles" / second / "item_table.npy"
    content = bytearray(table.read_bytes())
    content[-1] ^= 1
    table.unlink()
    table.write_bytes(content)
    response = activate(own_http, second)
    assert response.status_code == 424
    assert "item_table.npy: sha256 differs" in response.json()["detail"]

    response = activate(own_http, "never-published")
    assert response.status_code == 404
    assert "'never-published' is not published" in response.json()["detail"]
    assert version_of(own_http) == "made-1"
    assert Registry(client).active() == "made-1"


def _corrupt_table(folder: Path) -> None:
    table = np.load(folder / "item_table.npy")
    table[5, 2] = np.nan
    np.save(folder / "item_table.npy", table)


def _corrupt_golden(folder: Path) -> None:
    golden = json.loads((folder / "golden.json").read_bytes())
    golden[1]["scores"][0] += 0.01
    (folder / "golden.json").write_text(json.dumps(golden))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(b"no graph"), "not a usable graph"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "not a tokenizer"),
        (_corrupt_table, "holds NaN or infinity"),
        (_corrupt_golden, "golden request 1: scores differ by 0.01"),
    ],
)
def test_a_bundle_that_is_complete_but_wrong_is_rejected_with_its_fault(
    synthetic_bundle: Bundle, tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    with (
        pytest.raises(BundleError, match=re.escape(said)),
        BundleWriter(tmp_path / "wrong") as writer,
    ):
        for name in synthetic_bundle.manifest.files:
            (writer._partial / name).write_bytes((synthetic_bundle.folder / name).read_bytes())
        change(writer._partial)
        fields = synthetic_bundle.manifest.model_dump(
            exclude={"files", "version", "schema_version"}
        )
        load_model(writer.finish(version="wrong", **fields))


def test_a_version_activated_by_the_command_line_is_followed(
    own_http: TestClient, client: redis.Redis, second: str
) -> None:
    Registry(client).activate(second)
    wait_for(lambda: version_of(own_http) == second)
    Registry(client).rollback()
    wait_for(lambda: version_of(own_http) == "made-1")


def test_an_active_version_that_cannot_be_loaded_is_logged_once(
    own_http: TestClient,
    client: redis.Redis,
    folder: Path,
    second: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.rmtree(folder / "bundles" / second)
    Registry(client).activate(second)
    wait_for(lambda: second in own_http.get("/health/ready").json()["rejected"])
    assert version_of(own_http) == "made-1"
    time.sleep(0.3)
    assert sum("can't be loaded" in record.message for record in caplog.records) == 1
    states = {
        m["version"]: m["state"]
        for m in own_http.get("/admin/models", headers=AS_ADMIN).json()["models"]
    }
    assert states[second].startswith("rejected: ")
    Registry(client).rollback()
    wait_for(lambda: own_http.get("/health/ready").json()["rejected"] == {})


def test_a_start_with_an_unusable_active_version_serves_the_last_good_one(
    store: EmbeddedStore,
    client: redis.Redis,
    synthetic_bundle: Bundle,
    folder: Path,
    tmp_path: Path,
) -> None:
    settings = settings_for(store.url, folder)
    good = publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings) as http:
        assert http.get("/health/ready").json()["version"] == good
    broken = make_bundle(tmp_path / "broken", version="broken-1", with_wrong_golden=True)
    publish_and_activate(broken, folder, store.url)
    with serving(settings) as http:
        for _ in range(2):  # also after the watcher has looked again
            ready = http.get("/health/ready").json()
            assert ready["version"] == good
            assert "golden" in ready["rejected"]["broken-1"]
            time.sleep(0.2)
        assert Registry(client).active() == "broken-1"  # the operator's choice is not undone


def test_not_ready_until_a_version_is_active(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path
) -> None:
    with serving(settings_for(store.url, folder)) as http:
        for response in (http.get("/health/ready"), http.post("/recommend", json={"history": []})):
            assert response.status_code == 503
            assert response.headers["content-type"] == "application/problem+json"
            assert "no version is active" in response.json()["detail"]
        assert http.get("/health/live").status_code == 200
        publish_and_activate(synthetic_bundle, folder, store.url)
        wait_for(lambda: http.get("/health/ready").status_code == 200)
        assert version_of(http) == "made-1"


def test_closed_admin_endpoints(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path
) -> None:
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder, admin_token=None)) as http:
        for headers in ({}, AS_ADMIN):
            response = http.get("/admin/models", headers=headers)
            assert response.status_code == 403
            assert "closed" in response.json()["detail"]


def test_fresh_items_become_recommendable(
    own_http: TestClient,
    client: redis.Redis,
    catalogue: Catalogue,
    store: EmbeddedStore,
    folder: Path,
) -> None:
    before = own_http.post("/recommend", json={"user_id": "u1", "k": 60}).json()["items"]
    own_http.post("/events", json={"user_id": "early", "item_id": "new film"})
    twin = catalogue.knowledge[3]
    fresh = [
        FreshItem(
            "new film", twin, {"title": "New Film", "genres": ["comedy"], "year": "?", "other": 1}
        ),
        FreshItem("bare", catalogue.knowledge[4], {}),
    ]
    client.rpush("lt:v:made-1:fresh", "without a vector")
    assert publish_fresh(fresh, client, encoder="made") == {"made-1": 2}
    wait_for(lambda: own_http.get("/health/ready").json()["fresh_items"] == 2)
    assert own_http.get("/health/ready").json()["items"] == 62

    def check(http: TestClient) -> None:
        after = own_http.post("/recommend", json={"user_id": "u1", "k": 62}).json()["items"]
        ids = [item["item_id"] for item in after]
        assert {"new film", "bare"} <= set(ids)
        # The others keep their order and their scores: nothing is displaced by index.
        assert [i["item_id"] for i in before] == [i for i in ids if i not in {"new film", "bare"}]
        history = catalogue.histories["u1"]
        row = np.append(twin, 1).astype(np.float32) @ catalogue.projection
        weights = 0.8 ** np.arange(len(history) - 1, -1, -1)
        user = (catalogue.table[history] * weights[:, None]).sum(0) / weights.sum()
        [score] = [item["score"] for item in after if item["item_id"] == "new film"]
        # Its vector is float16 in the store: the tolerance of golden scores.
        tolerance = TOLERANCE * max(1, *(abs(item["score"]) for item in after))
        assert score == pytest.approx(float(user @ row), abs=tolerance)

        found = own_http.post(
            "/recommend",
            json={"history": ["new film"], "k": 5, "exclude_seen": False, "fields": ["title"],
                  "candidates": ["new film"], "filters": {"genres": {"any": ["comedy"]}}},
        ).json()  # fmt: skip
        assert found["served_by"] == "model"
        assert found["degraded"] == []
        assert found["items"][0]["fields"] == {"title": "New Film"}
        # An event about it that came before it did counts now.
        early = own_http.post("/recommend", json={"user_id": "early"}).json()
        assert early["served_by"] == "model"
        assert early["degraded"] == []
        assert own_http.get("/items/new film/similar").status_code == 200
        known = own_http.post("/recommend", json={"interests": "comedy", "k": 62}).json()["items"]
        assert "new film" in [item["item_id"] for item in known]

    check(own_http)
    with serving(settings_for(store.url, folder)) as another:
        assert another.get("/health/ready").json()["fresh_items"] == 2
        check(another)


@pytest.mark.parametrize(
    ("vector", "attributes"),
    [
        (np.full(6, 3e38, np.float32), b"{}"),
        (np.full(6, 1e30, np.float32), b"{}"),
        (np.full(6, np.nan, np.float32), b"{}"),
        (np.full(6, np.inf, np.float16), b"{}"),
        (np.zeros(5, np.float32), b"{}"),
        (np.zeros(6, np.float32), b"[" * 100_000),
        (np.zeros(6, np.float32), b"[]"),
        (np.zeros(6, np.float32), b"nonsense"),
    ],
)
def test_a_damaged_fresh_item_keeps_no_other_away(
    own_http: TestClient,
    client: redis.Redis,
    vector: np.ndarray,
    attributes: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.hset("lt:v:made-1:vectors", "damaged", vector.tobytes())
    client.hset("lt:v:made-1:attributes", "damaged", attributes)
    client.rpush("lt:v:made-1:fresh", "damaged")
    # What no answer could hold is left out, and the item is there.
    client.hset("lt:v:made-1:vectors", "sound", np.full(6, 0.4, np.float32).tobytes())
    client.hset("lt:v:made-1:attributes", "sound", b'{"title": "\\ud83c", "year": 1e999}')
    client.rpush("lt:v:made-1:fresh", "sound")
    wait_for(lambda: own_http.get("/health/ready").json()["fresh_items"] == 1)
    body = {"user_id": "u1", "k": 61, "exclude_seen": False, "fields": ["title", "year"]}
    response = own_http.post("/recommend", json=body)
    assert response.status_code == 200
    items = {item["item_id"]: item for item in response.json()["items"]}
    assert len(items) == 61
    assert items["sound"]["fields"] == {"title": None, "year": None}
    assert all(item["score"] is not None for item in items.values())
    assert sum("'damaged'" in record.message for record in caplog.records) == 1


def test_past_the_limit_requests_are_rejected_at_once(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path
) -> None:
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder, max_in_flight=1)) as http:
        admission = service_of(http).admission
        admission.enter()  # as while another one is being answered
        response = http.post("/recommend", json={"history": []})
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "1"
        assert response.headers["content-type"] == "application/problem+json"
        assert http.get("/health/ready").status_code == 200
        assert "longtail_overload_total 1.0" in http.get("/metrics").text
        admission.leave()
        assert http.post("/recommend", json={"history": []}).status_code == 200


def test_a_service_that_has_ended_keeps_no_file_open_and_no_connection(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path
) -> None:
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        version_of(http)
        http.get("/admin/deployment", headers=AS_ADMIN)
        connected = len(client.client_list())
        assert open_files(folder)
    gc.collect()
    # The application is still referred to, as FastAPI does for good.
    assert service_of(http).models.current is None
    assert open_files(folder) == []
    assert len(client.client_list()) == 1 < connected


def open_files(folder: Path) -> list[str]:
    """Files of a folder that this process has open."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(descriptor.readlink()))
    return [link for link in links if link.startswith(str(folder))]


def test_a_start_that_fails_in_a_way_that_nobody_thought_of_ends_with_one_line(
    store: EmbeddedStore, folder: Path
) -> None:
    def fail() -> None:
        raise ValueError("one line\nand another")

    app = create_app(settings_for(store.url, folder), prepare=fail)
    with TestClient(app):
        wait_until_started(app)
    failure = app.state.service.failure
    assert str(failure) == "the service could not start: ValueError: one line"
