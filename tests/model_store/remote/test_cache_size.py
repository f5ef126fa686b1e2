"""Of the downloaded versions those that were used least recently go, and none in use."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from model_store import bundle_cache, download
from model_store.bundle import Bundle
from model_store.bundle_cache import BundleCache
from model_store.errors import BundleUnavailable
from model_store.remote_bundles import RemoteBundles
from tests.model_store.remote.conftest import make, order_of, upload
from tests.synthetic_bundle import make_catalogue


@pytest.fixture
def three(source: Bundle, near: RemoteBundles, tmp_path: Path) -> RemoteBundles:
    """Three versions of nearly one size at the URL, and a cache for two."""
    for version in ("v-1", "v-2", "v-3"):
        seed = int(version[-1])
        made = make_catalogue(seed=seed)
        upload(make(tmp_path / version, version=version, catalogue=made), near)
    folder = near.cache.folder
    size_bytes = bundle_cache._size_of(tmp_path / "v-1")
    return RemoteBundles(near.url, BundleCache(folder, int(2.5 * size_bytes)))


def use(remote: RemoteBundles, version: str, at_s: int) -> None:
    """Download a version, and say when it was used last."""
    os.utime(download.download(order_of(remote, version)), (at_s, at_s))


def test_the_version_that_was_used_least_recently_goes(three: RemoteBundles) -> None:
    use(three, "v-1", 2)
    use(three, "v-2", 1)
    download.download(order_of(three, "v-3"))
    assert three.cache.versions() == ["v-1", "v-3"]
    assert not [path for path in three.cache.folder.iterdir() if path.name.endswith(".gone")]


def test_a_version_in_use_stays_however_long_ago_it_was_loaded(three: RemoteBundles) -> None:
    use(three, "v-1", 1)
    use(three, "v-2", 2)
    download.download(order_of(three, "v-3", spared=("v-1",)))
    assert three.cache.versions() == ["v-1", "v-3"]
    with pytest.raises(BundleUnavailable) as error:
        download.download(order_of(three, "v-2", spared=("v-1", "v-3")))
    assert "LONGTAIL_BUNDLES_CACHE_BYTES" in str(error.value)
    assert "for versions in use: v-1, v-3" in str(error.value)
    assert three.cache.versions() == ["v-1", "v-3"]


def test_what_was_broken_off_goes_first(three: RemoteBundles) -> None:
    use(three, "v-1", 1)
    left = three.cache.partial("v-2")
    shutil.copytree(three.cache.folder / "v-1", left)
    download.download(order_of(three, "v-3"))
    assert three.cache.versions() == ["v-1", "v-3"]
    assert not left.exists()


def test_a_disk_with_too_little_left_is_found_before(
    three: RemoteBundles, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, int]]
) -> None:
    usage = shutil.disk_usage(three.cache.folder.parent)
    monkeypatch.setattr(bundle_cache.shutil, "disk_usage", lambda _: usage._replace(free=1_000))
    with pytest.raises(BundleUnavailable, match=r"the disk of .*cache has 1,000 left"):
        download.download(order_of(three, "v-1"))
    assert asked == []


def test_a_disk_that_gets_full_meanwhile_is_left_free(
    source: Bundle, near: RemoteBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    upload(source, near)
    monkeypatch.setattr(download, "write_atomically", fail)
    with pytest.raises(BundleUnavailable, match=r"No space left on device.* 'made-1' .*removed"):
        download.download(order_of(near))
    assert not near.cache.partial("made-1").exists()
