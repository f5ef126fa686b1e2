"""What a service does while it loads, and when it can't load what is wanted: it answers."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.deployment import loaded_versions
from app.deployment.bundle_folders import BundleFolders
from app.main import create_app
from app.model.background import yield_cpu
from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.model_record import ModelRecord
from model_store.registry import Registry
from tests.app.conftest import (
    AS_ADMIN,
    PATIENCE_S,
    serving,
    settings_for,
    wait_for,
)
from tests.damage import Damage, all_damages
from tests.synthetic_bundle import make_bundle, make_catalogue


def version_of(http: TestClient) -> str:
    response = http.post("/recommend", json={"history": ["i1"]})
    assert response.status_code == 200, response.text
    return str(response.json()["model_version"])


def rejected(http: TestClient) -> dict[str, str]:
    return dict(http.get("/health/ready").json()["rejected"])


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Versions in the order in which they were loaded, or attempted."""
    loaded: list[str] = []
    load_version: Callable[..., Any] = loaded_versions.load_version

    def load(folder: Path, version: str, *others: Any) -> Any:
        loaded.append(version)
        return load_version(folder, version, *others)

    monkeypatch.setattr(loaded_versions, "load_version", load)
    return loaded


def test_a_folder_that_comes_later_is_taken_then(
    own_http: TestClient, client: redis.Redis, folder: Path, second: str
) -> None:
    placed = folder / "bundles" / second
    aside = folder / "aside"
    placed.rename(aside)
    Registry(client).activate(second)
    wait_for(lambda: second in rejected(own_http))
    assert version_of(own_http) == "made-1"
    # As a copy over the network does it: first an empty folder, then one file after the other.
    placed.mkdir()
    for path in sorted(aside.iterdir()):
        shutil.copy(path, placed)
        time.sleep(0.02)
    wait_for(lambda: version_of(own_http) == second)
    assert rejected(own_http) == {}


def test_a_file_that_cannot_be_read_just_now_is_read_later(
    own_http: TestClient, client: redis.Redis, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError(5, "Input/output error"), MemoryError(), OSError(24, "Too many open files")]
    opens = Bundle.open

    def fail_first(folder: Path, **options: Any) -> Bundle:
        if failures:
            raise failures.pop()
        return opens(folder, **options)

    monkeypatch.setattr(Bundle, "open", fail_first)
    Registry(client).activate(second)
    wait_for(lambda: version_of(own_http) == second)
    assert failures == []


SOME = all_damages()[::17]


def put_damaged(sound: Bundle, damage: Damage, folder: Path, client: redis.Redis) -> None:
    placed = folder / "bundles" / "damaged"
    shutil.copytree(sound.folder, placed)
    damage.apply(placed)
    record = ModelRecord(
        version="damaged",
        model="made",
        bundle=str(placed),
        published_at="2026-01-02",
        created_at="2026-01-02",
        n_items=60,
        n_users=12,
        encoder=None,
        code_revision="made",
        metrics={},
    )
    Registry(client).add(record)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("sound") / "sound"
    return make_bundle(
        folder, version="damaged", catalogue=make_catalogue(seed=9), with_reranker=True
    )


@pytest.mark.parametrize("damage", SOME, ids=lambda damage: damage.name)
def test_a_damaged_version_is_loaded_once_and_the_last_good_one_answers_also_after_a_restart(
    own_http: TestClient,
    client: redis.Redis,
    store: EmbeddedStore,
    sound: Bundle,
    folder: Path,
    damage: Damage,
    loads: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    put_damaged(sound, damage, folder, client)
    assert version_of(own_http) == "made-1"
    Registry(client).activate("damaged")
    wait_for(lambda: "damaged" in rejected(own_http))
    assert version_of(own_http) == "made-1"
    time.sleep(0.2)
    # What a file that isn't there may be is looked up again, which takes no time.
    assert loads.count("damaged") == 1 or "not there" in rejected(own_http)["damaged"]
    assert sum("can't be loaded" in record.message for record in caplog.records) == 1
    assert version_of(own_http) == "made-1"
    with serving(settings_for(store.url, folder)) as restarted:
        assert version_of(restarted) == "made-1"
        assert "damaged" in rejected(restarted)
    states = own_http.get("/admin/models", headers=AS_ADMIN).json()
    assert states["active"] == "damaged"


def test_a_damaged_version_is_loaded_again_once_somebody_has_mended_it(
    own_http: TestClient, client: redis.Redis, sound: Bundle, folder: Path, loads: list[str]
) -> None:
    [damage] = [one for one in all_damages() if one.name == "popularity.npy with nan"]
    put_damaged(sound, damage, folder, client)
    Registry(client).activate("damaged")
    wait_for(lambda: "damaged" in rejected(own_http))
    time.sleep(1.0)
    assert loads == ["damaged"]
    for path in sound.folder.iterdir():
        shutil.copy(path, folder / "bundles" / "damaged")
    wait_for(lambda: version_of(own_http) == "damaged")


def test_an_emptied_store_does_not_take_the_version_from_a_service_that_starts(
    own_http: TestClient, client: redis.Redis, store: EmbeddedStore, folder: Path
) -> None:
    client.flushall()
    assert version_of(own_http) == "made-1"
    with serving(settings_for(store.url, folder)) as restarted:
        assert version_of(restarted) == "made-1"


def test_without_the_last_version_the_one_before_it_serves(
    client: redis.Redis, store: EmbeddedStore, good: str, folder: Path, second: str
) -> None:
    Registry(client).activate(second)
    shutil.rmtree(folder / "bundles" / second)
    for remembered in (None, "nonsense", '{"version": "../../etc"}', '{"version": "made-2"}'):
        if remembered:
            (folder / "bundles" / "active.json").write_text(remembered)
        with serving(settings_for(store.url, folder)) as http:
            assert version_of(http) == good


@pytest.mark.parametrize("garbage", [b"nonsense", b"\xff", b'{"active": 7}', b"[" * 100_000])
def test_a_damaged_record_leaves_the_service_as_it_is(
    own_http: TestClient,
    client: redis.Redis,
    store: EmbeddedStore,
    folder: Path,
    garbage: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.set(keys.DEPLOYMENT, garbage)
    client.hset(keys.MODELS, "theirs", garbage)
    wait_for(lambda: any(keys.DEPLOYMENT in record.message for record in caplog.records))
    time.sleep(0.3)  # it looks again, and says nothing new
    assert version_of(own_http) == "made-1"
    assert sum(keys.DEPLOYMENT in record.message for record in caplog.records) == 1
    assert not [record for record in caplog.records if record.exc_info]
    for _ in range(3):
        assert [
            m["version"] for m in own_http.get("/admin/models", headers=AS_ADMIN).json()["models"]
        ]
    assert sum(keys.MODELS in record.message for record in caplog.records) == 1
    with serving(settings_for(store.url, folder)) as restarted:
        assert version_of(restarted) == "made-1"
    assert own_http.post("/admin/models/made-1/activate", headers=AS_ADMIN).status_code == 200
    assert Registry(client).active() == "made-1"


def test_a_version_that_is_retired_while_it_is_loaded_does_not_become_active(
    own_http: TestClient, client: redis.Redis, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_version: Callable[..., Any] = loaded_versions.load_version

    def load(*arguments: Any) -> Any:
        Registry(client).retire(second)
        return load_version(*arguments)

    monkeypatch.setattr(loaded_versions, "load_version", load)
    response = own_http.post(f"/admin/models/{second}/activate", headers=AS_ADMIN)
    assert response.status_code == 404
    assert version_of(own_http) == "made-1"
    assert Registry(client).active() == "made-1"


def test_a_rollback_that_another_operator_overtakes_changes_nothing(
    own_http: TestClient, client: redis.Redis, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own_http.post(f"/admin/models/{second}/activate", headers=AS_ADMIN).status_code == 200
    load_version: Callable[..., Any] = loaded_versions.load_version

    def load(*arguments: Any) -> Any:
        if Registry(client).active() == second:
            Registry(client).activate("made-1")
        return load_version(*arguments)

    monkeypatch.setattr(loaded_versions, "load_version", load)
    response = own_http.post("/admin/models/rollback", headers=AS_ADMIN)
    assert response.status_code == 409
    assert "activated meanwhile" in response.json()["detail"]
    assert Registry(client).active() == "made-1"


def test_rolling_back_from_a_version_to_itself_is_no_rollback(
    own_http: TestClient, client: redis.Redis, second: str
) -> None:
    for version in (second, "made-1"):
        assert (
            own_http.post(f"/admin/models/{version}/activate", headers=AS_ADMIN).status_code == 200
        )
    Registry(client).retire(second)
    assert own_http.post("/admin/models/rollback", headers=AS_ADMIN).status_code == 409
    assert version_of(own_http) == "made-1"


def test_a_service_listens_while_it_loads_and_says_what(
    store: EmbeddedStore, good: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_version: Callable[..., Any] = loaded_versions.load_version
    waiting = True

    def load(folder: Path, version: str, *others: Any) -> Any:
        while waiting:
            time.sleep(0.01)
            yield_cpu()
        return load_version(folder, version, *others)

    monkeypatch.setattr(loaded_versions, "load_version", load)
    with TestClient(create_app(settings_for(store.url, folder))) as http:
        wait_for(lambda: "being loaded" in http.get("/health/ready").json()["detail"])
        assert http.get("/health/live").status_code == 200
        ready = http.get("/health/ready")
        assert ready.status_code == 503
        assert "version made-1 is being loaded" in ready.json()["detail"]
        response = http.post("/recommend", json={"history": ["i1"]})
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        waiting = False
        wait_for(lambda: http.get("/health/ready").status_code == 200)
        assert version_of(http) == good


def test_a_service_is_ready_when_it_has_the_versions_of_all_names(
    store: EmbeddedStore,
    client: redis.Redis,
    good: str,
    second: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_version: Callable[..., Any] = loaded_versions.load_version
    waiting = True
    Registry(client, model="shop").activate(second)

    def load(folder: Path, version: str, *others: Any) -> Any:
        while waiting and version == second:
            time.sleep(0.01)
            yield_cpu()
        return load_version(folder, version, *others)

    monkeypatch.setattr(loaded_versions, "load_version", load)
    with TestClient(create_app(settings_for(store.url, folder))) as http:
        wait_for(lambda: second in http.get("/health/ready").json().get("detail", ""))
        assert http.get("/health/ready").status_code == 503
        assert version_of(http) == good
        waiting = False
        wait_for(lambda: http.get("/health/ready").status_code == 200)
        named = http.post("/recommend", json={"history": ["i1"], "model": "shop"})
        assert named.json()["model_version"] == second


def test_a_name_is_not_called_unknown_before_the_record_is_read(
    store: EmbeddedStore, client: redis.Redis, good: str, folder: Path
) -> None:
    Registry(client, model="shop").activate(good)
    published = threading.Event()
    settings = settings_for(store.url, folder)
    with TestClient(
        create_app(settings, prepare=lambda: published.wait(PATIENCE_S) and None)
    ) as http:
        named = {"history": ["i1"], "model": "shop"}
        response = http.post("/recommend", json=named)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert response.json()["detail"] == "the bundle is being published"
        published.set()
        wait_for(lambda: http.post("/recommend", json=named).status_code == 200)
        assert http.post("/recommend", json={**named, "model": "other"}).status_code == 422


def test_a_service_is_not_ready_while_a_names_bundle_is_still_downloaded(
    store: EmbeddedStore,
    client: redis.Redis,
    good: str,
    second: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A long download goes on beside all else, when the first look is long over."""
    here = {good}

    async def is_here(_: object, version: str) -> bool:
        return version in here

    monkeypatch.setattr(BundleFolders, "is_here", is_here)
    Registry(client, model="shop").activate(second)
    with serving(settings_for(store.url, folder)) as http:
        assert version_of(http) == good
        assert http.get("/health/ready").status_code == 503
        here.add(second)
        wait_for(lambda: http.get("/health/ready").status_code == 200)


def test_a_name_is_not_unknown_before_the_record_could_be_read(folder: Path) -> None:
    settings = settings_for("unix:///nowhere/valkey.sock", folder)
    with serving(settings) as http:
        answer = http.post("/recommend", json={"history": ["i1"], "model": "shop"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert "the deployment record can't be read" in answer.json()["detail"]


def test_a_service_that_is_ended_while_it_loads_ends_at_once(
    store: EmbeddedStore, good: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(folder: Path, version: str, *others: Any) -> Any:
        while True:
            time.sleep(0.01)
            yield_cpu()

    monkeypatch.setattr(loaded_versions, "load_version", load)
    with TestClient(create_app(settings_for(store.url, folder))) as http:
        wait_for(lambda: "being loaded" in http.get("/health/ready").json()["detail"])
        began = time.monotonic()
    assert time.monotonic() - began < 2
