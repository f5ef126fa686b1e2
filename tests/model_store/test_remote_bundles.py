"""Bundles at a URL, over a real S3-compatible server: up, down, broken off, damaged, evicted."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from s3fs import S3FileSystem

from model_store import bundle_cache, download, object_store, placing, remote_bundles
from model_store.bundle import ITEM_TABLE, MANIFEST, Bundle
from model_store.bundle_cache import BundleCache
from model_store.download import Order
from model_store.download_process import run_download
from model_store.errors import BundleError, BundleUnavailable, ConfigError
from model_store.object_store import ObjectStore
from model_store.placing import next_version, place
from model_store.private_key import PrivateKey
from model_store.remote_bundles import RemoteBundles, bundles_from
from model_store.signatures import SIGNATURE, Trust
from tests.s3_server import (
    BUCKET,
    SECRET,
    content_of,
    forget_clients,
    overwrite,
    remove,
    s3_server,
)
from tests.synthetic_bundle import make_bundle, make_catalogue

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


# --- there and back -------------------------------------------------------------------------


def test_what_is_uploaded_comes_back_byte_for_byte(source: Bundle, remote: RemoteBundles) -> None:
    told: list[tuple[str, int, int]] = []
    placed, where = place(source, remote, lambda *progress: told.append(progress))
    assert (placed.version, where) == ("made-1", f"{remote.url}/made-1")
    total = sum(entry.size_bytes for entry in source.manifest.files.values())
    assert told[-1] == ("bytes", total, total)
    remote.check("made-1")
    folder = remote.fetch("made-1", ())
    assert folder == remote.cache.folder / "made-1"
    names = {path.name for path in folder.iterdir()}
    assert names == {*source.manifest.files, MANIFEST}
    for name in names:
        assert (folder / name).read_bytes() == (source.folder / name).read_bytes()
    assert Bundle.open(folder).version == "made-1"
    assert [path.name for path in remote.cache.folder.iterdir() if path.is_dir()] == ["made-1"]


def test_a_command_shows_how_far_a_download_is(
    source: Bundle,
    near: RemoteBundles,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upload(source, near)
    monkeypatch.setattr(remote_bundles, "PROGRESS_S", 0.0)
    near.fetch("made-1", ())
    assert capsys.readouterr().err.endswith("downloading version made-1: 0 of 0 MB\n")


def test_what_is_here_needs_no_network(
    source: Bundle, remote: RemoteBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(source, remote)
    folder = download.download(order_of(remote))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert remote.fetch("made-1", ()) == folder
    assert remote.manifest_of("made-1") == (source.folder / MANIFEST).read_bytes()


def test_the_same_bundle_is_uploaded_once_and_another_one_gets_a_free_version(
    source: Bundle, near: RemoteBundles, tmp_path: Path
) -> None:
    assert upload(source, near) == upload(source, near) == "made-1"
    other = make(tmp_path / "other", version="made-1", catalogue=make_catalogue(seed=2))
    version = upload(other, near)
    assert version not in {"made-1", ""}
    opened = Bundle.open(download.download(order_of(near, version)))
    assert (opened.version, opened.manifest.files) == (version, other.manifest.files)
    day = placing._today()
    assert next_version(near, day) == f"{day.isoformat()}-2"


def test_half_an_upload_is_no_version_and_is_finished_by_the_next(
    source: Bundle, near: RemoteBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, n_put = ObjectStore.put, 0

    def fail(self: ObjectStore, *given: object) -> None:
        nonlocal n_put
        n_put += 1
        if n_put > 3:
            raise BundleUnavailable("the network went away")
        put(self, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "put", fail)
        with pytest.raises(BundleUnavailable, match="the network went away"):
            upload(source, near)
    with pytest.raises(BundleUnavailable, match=r"made-1/manifest\.json: isn't there"):
        near.check("made-1")
    assert upload(source, near) == "made-1"
    near.check("made-1")


def test_a_file_that_was_not_uploaded_whole_keeps_the_manifest_away(
    source: Bundle, remote: RemoteBundles, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    put = ObjectStore.put

    def cut(self: ObjectStore, path: Path, name: str, *others: object) -> None:
        put(self, path, name)
        if name.endswith(ITEM_TABLE):
            overwrite(f"{at}/{name}", path.read_bytes()[:-1])

    monkeypatch.setattr(ObjectStore, "put", cut)
    with pytest.raises(BundleUnavailable, match=f"not all of it was uploaded: .*{ITEM_TABLE}"):
        upload(source, remote)
    assert MANIFEST not in remote.store.list("made-1")


# --- broken off and damaged -----------------------------------------------------------------


class Killed(BaseException):
    """What no code of a download expects."""


def killed_after(n_bytes: int) -> Callable[[int, int], None]:
    def report(done: int, _total: int) -> None:
        if done >= n_bytes:
            raise Killed

    return report


def test_a_download_goes_on_within_the_file_where_it_was_killed(
    source: Bundle,
    remote: RemoteBundles,
    asked: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(object_store, "PART_BYTES", 500)
    upload(source, remote)
    sizes = {name: entry.size_bytes for name, entry in source.manifest.files.items()}
    large = next(name for name, size_bytes in sizes.items() if size_bytes > 1_500)
    names = list(sizes)
    before = sum(sizes[name] for name in names[: names.index(large)])
    with pytest.raises(Killed):
        download.download(order_of(remote), killed_after(before + 600))
    partial = remote.cache.partial("made-1")
    assert (partial / large).stat().st_size == 1_000
    assert remote.cache.find("made-1") is None
    asked.clear()
    folder = download.download(order_of(remote))
    assert asked == [(large, 1_000), *((name, 0) for name in names[names.index(large) + 1 :])]
    assert Bundle.open(folder).version == "made-1"
    assert not partial.exists()


def test_a_process_that_is_killed_leaves_what_it_has(source: Bundle, near: RemoteBundles) -> None:
    upload(source, near)
    with pytest.raises(Killed):
        run_download(order_of(near), killed_after(1))
    assert near.cache.versions() == []
    assert any(near.cache.partial("made-1").iterdir())
    progress: list[tuple[int, int]] = []
    folder = run_download(order_of(near), lambda *given: progress.append(given))
    assert Bundle.open(folder).version == "made-1"
    assert progress


def test_where_no_file_can_be_begun_in_the_middle_it_begins_anew(
    source: Bundle, near: RemoteBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(source, near)
    partial = near.cache.partial("made-1")
    partial.mkdir(parents=True)
    (partial / ITEM_TABLE).write_bytes((source.folder / ITEM_TABLE).read_bytes()[:100])
    parts = ObjectStore.parts
    monkeypatch.setattr(ObjectStore, "parts", lambda self, name, _start=0: parts(self, name, 0))
    assert Bundle.open(download.download(order_of(near))).version == "made-1"


@pytest.mark.parametrize("left", [b"x" * 100, b"x" * 100_000])
def test_what_is_left_of_another_bundle_is_replaced(
    source: Bundle, near: RemoteBundles, left: bytes
) -> None:
    upload(source, near)
    partial = near.cache.partial("made-1")
    partial.mkdir(parents=True)
    (partial / ITEM_TABLE).write_bytes(left)
    (partial / "of_another_bundle.npy").write_bytes(left)
    folder = download.download(order_of(near))
    assert Bundle.open(folder).version == "made-1"
    assert not (folder / "of_another_bundle.npy").exists()


def test_a_damaged_object_is_named_and_never_a_version(
    source: Bundle, remote: RemoteBundles, at: str, asked: list[tuple[str, int]]
) -> None:
    upload(source, remote)
    content = (source.folder / ITEM_TABLE).read_bytes()
    overwrite(f"{at}/made-1/{ITEM_TABLE}", content[:-1] + bytes([content[-1] ^ 1]))
    remote.check("made-1")  # whose sizes are right
    message = f"{remote.url}/made-1/{ITEM_TABLE}: sha256 differs from the manifest's"
    with pytest.raises(BundleUnavailable) as error:
        download.download(order_of(remote))
    assert str(error.value) == message
    assert remote.cache.versions() == []
    overwrite(f"{at}/made-1/{ITEM_TABLE}", content)
    there = {path.name for path in remote.cache.partial("made-1").iterdir()}
    assert there
    asked.clear()
    assert Bundle.open(download.download(order_of(remote))).version == "made-1"
    assert {name for name, _ in asked} == {*source.manifest.files} - there


def test_an_object_that_grew_or_went_away_is_named(
    source: Bundle, remote: RemoteBundles, at: str
) -> None:
    upload(source, remote)
    overwrite(f"{at}/made-1/{ITEM_TABLE}", bytes(10**6))
    with pytest.raises(BundleUnavailable, match=f"{ITEM_TABLE}: sha256 differs"):
        download.download(order_of(remote))
    with pytest.raises(BundleError, match=f"{ITEM_TABLE}: 1000000 bytes, the manifest says"):
        remote.check("made-1")
    remove(f"{at}/made-1/{ITEM_TABLE}")
    with pytest.raises(BundleUnavailable, match=f"{ITEM_TABLE}: isn't there"):
        download.download(order_of(remote))
    with pytest.raises(BundleUnavailable, match=f"{ITEM_TABLE}: is in the manifest but not there"):
        remote.check("made-1")


def test_files_damaged_in_the_cache_are_downloaded_again_and_no_others(
    source: Bundle, near: RemoteBundles, asked: list[tuple[str, int]]
) -> None:
    upload(source, near)
    folder = download.download(order_of(near))
    (folder / ITEM_TABLE).write_bytes(bytes((folder / ITEM_TABLE).stat().st_size))
    asked.clear()
    assert download.download(order_of(near, again=True)) == folder
    assert asked == [(ITEM_TABLE, 0)]
    assert Bundle.open(folder).version == "made-1"


def test_of_several_workers_one_downloads(
    source: Bundle, near: RemoteBundles, asked: list[tuple[str, int]]
) -> None:
    upload(source, near)
    with ThreadPoolExecutor(4) as pool:
        folders = {*pool.map(lambda _: download.download(order_of(near)), range(4))}
    assert folders == {near.cache.folder / "made-1"}
    assert sorted(asked) == [(name, 0) for name in sorted(source.manifest.files)]


# --- the cache's size -----------------------------------------------------------------------


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


# --- signatures -----------------------------------------------------------------------------


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    return PrivateKey.make(tmp_path / "release.key")


@pytest.fixture
def build(source: Bundle, tmp_path: Path) -> Bundle:
    """A bundle of one test, which may sign it."""
    return Bundle.open(Path(shutil.copytree(source.folder, tmp_path / "build" / "bundle")))


def test_an_unsigned_bundle_is_rejected_before_any_file_is_downloaded(
    build: Bundle, near: RemoteBundles, key: PrivateKey, asked: list[tuple[str, int]]
) -> None:
    trust = Trust((key.public,), is_required=True)
    strict = RemoteBundles(near.url, near.cache, trust)
    upload(build, near)
    rejected = "version 'made-1' has no trusted signature: there is no manifest.sig"
    with pytest.raises(BundleError, match=rejected):
        strict.fetch("made-1", ())
    with pytest.raises(BundleError, match=rejected):
        strict.check("made-1")
    with pytest.raises(BundleError, match=rejected):
        download.download(order_of(near, trusted_keys=str(key.public)))
    assert asked == []
    # One that is here is rejected too, and stays here until its signature has come.
    folder = download.download(order_of(near))
    with pytest.raises(BundleError, match=rejected):
        strict.fetch("made-1", ())
    assert strict.cache.versions() == ["made-1"]
    key.sign(build.folder, MANIFEST)
    assert upload(build, near) == "made-1"
    assert strict.fetch("made-1", ()) == folder
    assert Bundle.open(folder, trust=trust).version == "made-1"


def test_a_signed_bundle_keeps_its_manifest_and_version(
    build: Bundle, remote: RemoteBundles, key: PrivateKey, tmp_path: Path, at: str
) -> None:
    upload(make(tmp_path / "other", catalogue=make_catalogue(seed=2)), remote)
    key.sign(build.folder, MANIFEST)
    with pytest.raises(BundleError, match="holds another bundle of version 'made-1', and a signed"):
        upload(build, remote)
    manifest = build.manifest.model_copy(update={"version": "made-2"})
    manifest.save(build.folder / MANIFEST)
    key.sign(build.folder, MANIFEST)
    assert upload(Bundle.open(build.folder), remote) == "made-2"
    for name in (MANIFEST, SIGNATURE):
        assert content_of(f"{at}/made-2/{name}") == (build.folder / name).read_bytes()


# --- places that can't be used ----------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_named(source: Bundle, tmp_path: Path) -> None:
    nowhere = RemoteBundles("s3://nowhere/x", BundleCache(tmp_path / "cache", SIZE_BYTES))
    with pytest.raises(BundleUnavailable, match=r"^s3://nowhere/x/made-1/.*: isn't there \("):
        upload(source, nowhere)
    with pytest.raises(BundleUnavailable, match=r"^s3://nowhere/x/made-1/manifest\.json: isn't th"):
        download.download(order_of(nowhere))


@pytest.mark.parametrize("missing", [True, False])
def test_missing_credentials_are_called_so_and_none_is_shown(
    source: Bundle, remote: RemoteBundles, monkeypatch: pytest.MonkeyPatch, missing: bool
) -> None:
    if missing:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        monkeypatch.setattr(S3FileSystem, "retries", 1)
    forget_clients()
    shown = "no credentials" if missing else "can't be reached"
    try:
        with pytest.raises(BundleUnavailable, match=f"^{remote.url}.*: {shown}") as error:
            upload(source, remote)
    finally:
        forget_clients()
    assert SECRET not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_protocol_that_nothing_is_installed_for_is_named(tmp_path: Path) -> None:
    for url, message in (
        ("gs://shop/x", "a package is not installed"),
        ("nope://shop/x", "Protocol not known: nope"),
    ):
        with pytest.raises(ConfigError, match=f"^{url}: {message}"):
            ObjectStore(url).list()


def test_a_url_with_a_password_is_rejected_and_not_shown() -> None:
    for url in (f"s3://key:{SECRET}@shop/x", f"s3://shop/x?secret={SECRET}"):
        with pytest.raises(
            ConfigError, match=r"LONGTAIL_BUNDLES_DIR=\(hidden\): a URL of"
        ) as error:
            bundles_from({"LONGTAIL_BUNDLES_DIR": url})
        assert SECRET not in str(error.value)


def test_another_file_system_does_too(source: Bundle, tmp_path: Path) -> None:
    other = RemoteBundles("memory://published", BundleCache(tmp_path / "cache", SIZE_BYTES))
    assert upload(source, other) == upload(source, other) == "made-1"
    other.check("made-1")
    assert Bundle.open(download.download(order_of(other))).version == "made-1"
