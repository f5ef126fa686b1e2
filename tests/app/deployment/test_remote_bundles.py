"""A service and commands whose bundles are on an S3-compatible server."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import longtail
from app.settings import Settings
from model_store import download, remote_bundles
from model_store.bundle import ITEM_TABLE, Bundle
from model_store.bundle_cache import BundleCache
from model_store.embedded import EmbeddedStore
from model_store.errors import BundleUnavailable, LongtailError
from model_store.registry import Registry
from model_store.remote_bundles import RemoteBundles
from tests.app.conftest import service_of, serving, settings_for, wait_for
from tests.s3_server import BUCKET, overwrite, s3_server
from tests.synthetic_bundle import make_bundle, make_catalogue

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with s3_server():
        yield


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    return request.node.name.partition("[")[0]


@pytest.fixture
def settings(
    store: EmbeddedStore,
    client: redis.Redis,
    folder: Path,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """Of a service and of the commands in this process."""
    given = {"bundles_dir": f"s3://{BUCKET}/{place}", "bundles_cache_dir": folder / "cache"}
    for name, value in {**given, "redis_url": store.url, "store_dir": folder / "store"}.items():
        monkeypatch.setenv(f"LONGTAIL_{name.upper()}", str(value))
    return settings_for(store.url, folder, **given)


@pytest.fixture
def run(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_it(*words: str) -> tuple[int, str]:
        status = longtail.main(words)
        said = capsys.readouterr()
        return status, said.err if status else said.out

    return run_it


def build(folder: Path, version: str, seed: int, **options: Any) -> Bundle:
    made = make_catalogue(seed=seed)
    options |= {"with_encoder": False, "with_texts": False}
    return make_bundle(folder / version, version=version, catalogue=made, **options)


def versions_in(folder: Path) -> set[str]:
    return set(BundleCache(folder / "cache", 1).versions())


def version_of(http: Any) -> str:
    return str(http.post("/recommend", json={"history": ["i1"]}).headers["X-Model-Version"])


def hold_back(
    held: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[threading.Event, threading.Event]:
    """Have a version's download wait; events: it has begun, and it may end."""
    fetch, begun, may_end = RemoteBundles.fetch, threading.Event(), threading.Event()

    def slowly(self: RemoteBundles, version: str, *given: Any, **options: Any) -> Path:
        if version == held:
            begun.set()
            assert may_end.wait(60)
        return fetch(self, version, *given, **options)

    monkeypatch.setattr(remote_bundles.RemoteBundles, "fetch", slowly)
    return begun, may_end


@pytest.fixture
def _three(run: Run, folder: Path) -> None:
    """The versions made-1 to made-3 are published."""
    for n in (1, 2, 3):
        run("publish", "--bundle", str(build(folder, f"made-{n}", n).folder))


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads are done in this process, as the start of another one takes a second."""

    def run(order: download.Order, report: download.Report) -> Path:
        try:
            return download.download(order, report)
        except LongtailError as error:
            message = str(error)
        # As of a process, and without its frames: a log would keep the client in memory.
        raise BundleUnavailable(message)

    monkeypatch.setattr(remote_bundles, "run_download", run)


def test_from_publication_to_retirement(
    settings: Settings, run: Run, folder: Path, client: redis.Redis
) -> None:
    assert isinstance(settings.bundles_dir, RemoteBundles)
    report = {"models": {"made": {"test": {"all": dict.fromkeys(SHOWN, 0.25)}}}}
    first = build(folder, "made-1", 1, report=report)
    status, said = run("publish", "--bundle", str(first.folder), "--activate")
    assert (status, "active: made-1" in said) == (0, True), said
    assert Registry(client).get("made-1").bundle == settings.bundles_dir.url_of("made-1")
    assert versions_in(folder) == set()  # whoever publishes needs no copy
    with serving(settings) as http:
        assert version_of(http) == "made-1"
        assert versions_in(folder) == {"made-1"}
        run("publish", "--bundle", str(build(folder, "made-2", 2).folder))
        status, said = run("models", "activate", "made-2")
        assert (status, "active is made-2" in said) == (0, True), said
        assert version_of(http) == "made-2"
        listed = json.loads(run("models", "list", "--json")[1])
        assert [one["version"] for one in listed["models"]] == ["made-1", "made-2"]
        assert run("models", "rollback")[0] == 0
        assert version_of(http) == "made-1"
        assert json.loads(run("evaluate", "--json")[1]) == report["models"]
        assert run("models", "retire", "made-2")[0] == 0
    status, said = run("models", "activate", "made-2")
    assert (status, "'made-2' is not published" in said) == (1, True)


SHOWN = ("hit_rate_at_10", "ndcg_at_10", "mrr_at_10", "coverage_at_10")


@pytest.mark.usefixtures("_here")
def test_a_damaged_object_is_no_version_and_the_one_before_stays(
    settings: Settings, run: Run, folder: Path, place: str
) -> None:
    run("publish", "--bundle", str(build(folder, "made-1", 1).folder), "--activate")
    second = build(folder, "made-2", 2)
    run("publish", "--bundle", str(second.folder))
    overwrite(f"{place}/made-2/{ITEM_TABLE}", bytes((second.folder / ITEM_TABLE).stat().st_size))
    with serving(settings) as http:
        status, said = run("models", "activate", "made-2")
        assert status == 1
        assert (
            f"{place}/made-2/{ITEM_TABLE}: sha256 differs from the manifest's"
            in said.splitlines()[-1]
        )
        assert version_of(http) == "made-1"
        # As soon as it is right again, it can be activated.
        overwrite(f"{place}/made-2/{ITEM_TABLE}", (second.folder / ITEM_TABLE).read_bytes())
        assert run("models", "activate", "made-2")[0] == 0
        assert version_of(http) == "made-2"


@pytest.mark.usefixtures("_here")
def test_what_was_damaged_in_the_cache_is_repaired_at_the_next_start(
    settings: Settings, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("publish", "--bundle", str(build(folder, "made-1", 1).folder), "--activate")
    with serving(settings) as http:
        assert version_of(http) == "made-1"
    table = folder / "cache" / "made-1" / ITEM_TABLE
    table.write_bytes(bytes(table.stat().st_size))
    with serving(settings) as http:
        assert version_of(http) == "made-1"
    # With the object store away, it starts with what is here.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with serving(settings) as http:
        assert version_of(http) == "made-1"


@pytest.mark.usefixtures("_here", "_three")
def test_a_download_keeps_neither_requests_nor_rollbacks_waiting(
    settings: Settings,
    folder: Path,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, may_end = hold_back("made-3", monkeypatch)
    registry = Registry(client)
    registry.activate("made-1")
    with serving(settings) as http:
        models = service_of(http).models
        registry.activate("made-2")
        wait_for(lambda: models.current.version == "made-2")
        registry.canary("made-3", 50.0)
        assert begun.wait(60)
        assert version_of(http) == "made-2"
        registry.rollback()
        wait_for(lambda: models.current.version == "made-1")
        assert models.find("made-3") is None
        may_end.set()
        wait_for(lambda: models.find("made-3") is not None)


@pytest.mark.usefixtures("_here", "_three")
def test_the_cache_stays_within_its_limit_and_keeps_the_active_version(
    settings: Settings, folder: Path, client: redis.Redis
) -> None:
    size_bytes = sum(path.stat().st_size for path in (folder / "made-1").iterdir())
    assert isinstance(settings.bundles_dir, RemoteBundles)
    cache = BundleCache(settings.bundles_cache_dir, int(2.5 * size_bytes))
    small = settings.model_copy(
        update={"bundles_dir": RemoteBundles(settings.bundles_dir.url, cache)}
    )
    registry = Registry(client)
    registry.activate("made-1")
    with serving(small) as http:
        models = service_of(http).models
        for version in ("made-2", "made-3"):
            registry.shadow(version, 10.0)
            wait_for(lambda version=version: models.find(version) is not None)
            registry.shadow(version, 0)
            assert versions_in(folder) == {"made-1", version}


@pytest.mark.usefixtures("_here", "_three")
def test_without_the_records_the_cache_keeps_the_versions_of_all_names(
    settings: Settings,
    folder: Path,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Registry(client).activate("made-1")
    Registry(client, model="shop").activate("made-2")
    Registry(client).shadow("made-3", 10.0)
    names = {"default": "made-1", "shop": "made-2"}
    with serving(settings) as http:
        models = service_of(http).models
        wait_for(lambda: models.routings.versions == names)
        wait_for(lambda: models.find("made-3") is not None)
    # One is to be downloaded, there is space for two, and another is the one used last.
    cache = settings.bundles_cache_dir
    shutil.rmtree(cache / "made-1")
    os.utime(cache / "made-2", (1, 1))
    size_bytes = sum(path.stat().st_size for path in (folder / "made-1").iterdir())
    assert isinstance(settings.bundles_dir, RemoteBundles)
    small = RemoteBundles(settings.bundles_dir.url, BundleCache(cache, int(2.5 * size_bytes)))
    download_here, downloaded = remote_bundles.run_download, []

    def count(order: download.Order, report: download.Report) -> Path:
        downloaded.append(order.version)
        return download_here(order, report)

    monkeypatch.setattr(remote_bundles, "run_download", count)
    client.flushall()
    with serving(settings.model_copy(update={"bundles_dir": small})) as http:
        wait_for(lambda: service_of(http).models.routings.versions == names)
    assert downloaded == ["made-1"]
    assert versions_in(folder) == {"made-1", "made-2"}


@pytest.mark.usefixtures("_here")
def test_the_download_of_a_recalled_name_keeps_nothing_else_waiting(
    settings: Settings,
    run: Run,
    folder: Path,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for n in (1, 2):
        run("publish", "--bundle", str(build(folder, f"made-{n}", n).folder))
    Registry(client).activate("made-1")
    Registry(client, model="shop").activate("made-2")
    names = {"default": "made-1", "shop": "made-2"}
    with serving(settings) as http:
        wait_for(lambda: service_of(http).models.routings.versions == names)
    shutil.rmtree(settings.bundles_cache_dir / "made-2")
    client.flushall()
    may_end = hold_back("made-2", monkeypatch)[1]
    with serving(settings) as http:
        assert version_of(http) == "made-1"
        may_end.set()
        wait_for(lambda: service_of(http).models.routings.versions == names)
    assert not [record for record in caplog.records if record.exc_info]
