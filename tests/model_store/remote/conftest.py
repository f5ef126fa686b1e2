"""Bundles at a URL, over a real S3-compatible server or a folder of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_store import download, remote_bundles
from model_store.bundle import Bundle
from model_store.bundle_cache import BundleCache
from model_store.download import Order
from model_store.object_store import ObjectStore
from model_store.placing import place
from model_store.remote_bundles import RemoteBundles
from tests.s3_server import BUCKET, s3_server
from tests.synthetic_bundle import make_bundle

SIZE_BYTES = 10**9


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with s3_server():
        yield


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads are done in this process, as the start of another one takes a second."""
    monkeypatch.setattr(remote_bundles, "run_download", download.download)


def make(folder: Path, **options: Any) -> Bundle:
    """A bundle of few files."""
    return make_bundle(folder, with_encoder=False, with_texts=False, **options)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("build") / "bundle", version="made-1")


@pytest.fixture
def at(request: pytest.FixtureRequest) -> str:
    """A folder of the bucket for one test."""
    return request.node.name.partition("[")[0]


@pytest.fixture
def remote(at: str, tmp_path: Path) -> RemoteBundles:
    return RemoteBundles(f"s3://{BUCKET}/{at}", BundleCache(tmp_path / "cache", SIZE_BYTES))


@pytest.fixture
def near(tmp_path: Path) -> RemoteBundles:
    """A folder of this machine by its URL: what doesn't depend on S3 is tested in less time."""
    cache = BundleCache(tmp_path / "cache", SIZE_BYTES)
    return RemoteBundles(f"file://{tmp_path}/published", cache)


def upload(source: Bundle, remote: RemoteBundles) -> str:
    return place(source, remote, lambda *_: None)[0].version


def order_of(remote: RemoteBundles, version: str = "made-1", **changes: object) -> Order:
    cache = remote.cache
    given = {"cache": cache.folder, "max_bytes": cache.max_bytes, "yields": False, **changes}
    return Order(url=remote.url, version=version, **given)  # type: ignore[arg-type]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The files that are downloaded, each with the byte from which on."""
    found: list[tuple[str, int]] = []
    parts = ObjectStore.parts

    def spied(self: ObjectStore, name: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
        found.append((name, start))
        return parts(self, name, start)

    monkeypatch.setattr(ObjectStore, "parts", spied)
    return found
