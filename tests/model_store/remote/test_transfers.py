"""Bundles go to a URL and come back whole, however often that is broken off or damaged."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from model_store import download, object_store, placing, remote_bundles
from model_store.bundle import ITEM_IDS, ITEM_TABLE, MANIFEST, Bundle
from model_store.download_process import run_download
from model_store.errors import BundleError, BundleUnavailable
from model_store.object_store import ObjectStore
from model_store.placing import next_version, place
from model_store.private_key import PrivateKey
from model_store.remote_bundles import RemoteBundles
from tests.model_store.remote.conftest import make, order_of, upload
from tests.s3_server import (
    overwrite,
    remove,
)
from tests.synthetic_bundle import make_catalogue


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


def test_what_is_lacking_of_a_published_bundle_is_uploaded_again(
    source: Bundle, remote: RemoteBundles, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(source, remote)
    remove(f"{at}/made-1/{ITEM_TABLE}")
    overwrite(f"{at}/made-1/{ITEM_IDS}", b"[]")
    sent: list[str] = []
    put = ObjectStore.put

    def spied(self: ObjectStore, path: Path, name: str, *others: Any) -> None:
        sent.append(path.name)
        put(self, path, name, *others)

    monkeypatch.setattr(ObjectStore, "put", spied)
    assert upload(source, remote) == "made-1"
    assert sorted(sent) == sorted((ITEM_TABLE, ITEM_IDS))
    assert Bundle.open(download.download(order_of(remote))).version == "made-1"
    assert upload(source, remote) == "made-1"
    assert len(sent) == 2


def test_a_manifest_that_can_not_be_read_is_not_taken_for_none(
    source: Bundle, remote: RemoteBundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another bundle of that version would be written over the files of the published one."""
    upload(source, remote)
    other = make(tmp_path / "other", version="made-1", catalogue=make_catalogue(seed=2))
    system, _ = remote.store._files
    read = system._cat_file

    async def denied(path: str, *given: Any, **named: Any) -> bytes:
        if path.endswith(MANIFEST):
            raise PermissionError("Forbidden")
        return bytes(await read(path, *given, **named))

    with monkeypatch.context() as patch:
        patch.setattr(system, "_cat_file", denied)
        with pytest.raises(BundleUnavailable, match=rf"made-1/{MANIFEST}: access is denied"):
            upload(other, remote)
    assert Bundle.open(download.download(order_of(remote))).manifest == source.manifest


@pytest.mark.parametrize("is_at_once", [False, True])
def test_two_bundles_of_one_version_are_kept_apart(
    source: Bundle,
    near: RemoteBundles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_at_once: bool,
) -> None:
    """One is uploaded while the other is, from another machine; or after that was broken off."""
    other = make(tmp_path / "other", version="made-1", catalogue=make_catalogue(seed=2))
    put, versions = ObjectStore.put, []

    def interrupted(self: ObjectStore, *given: Any) -> None:
        put(self, *given)
        monkeypatch.setattr(ObjectStore, "put", put)
        versions.append(upload(other, near))
        if not is_at_once:
            raise BundleUnavailable("the network went away")

    monkeypatch.setattr(ObjectStore, "put", interrupted)
    if is_at_once:
        assert upload(source, near) == "made-1"
    else:
        with pytest.raises(BundleUnavailable, match="the network went away"):
            upload(source, near)
        assert upload(source, near) == "made-1"
    for version, made in (("made-1", source), (versions[0], other)):
        opened = Bundle.open(download.download(order_of(near, version)))
        assert opened.manifest.files == made.manifest.files
    assert versions[0] != "made-1"


def break_off(source: Bundle, remote: RemoteBundles) -> None:
    """Begin an upload, up to its first file."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ObjectStore, "put", mock.Mock(side_effect=Killed))
        upload(source, remote)


def test_half_an_upload_under_another_version_is_finished_by_the_next(
    source: Bundle, near: RemoteBundles, tmp_path: Path
) -> None:
    upload(source, near)
    other = make(tmp_path / "other", version="made-1", catalogue=make_catalogue(seed=2))
    break_off(other, near)
    [begun] = near.store.list().keys() - {"made-1"}
    assert upload(other, near) == begun
    assert near.store.list().keys() == {"made-1", begun}
    assert Bundle.open(download.download(order_of(near, begun))).manifest.files == (
        other.manifest.files
    )


def test_a_signed_bundle_names_half_an_upload_of_another_that_has_its_version(
    near: RemoteBundles, tmp_path: Path
) -> None:
    key = PrivateKey.make(tmp_path / "release.key")
    first, second = (
        make(tmp_path / str(seed), version="made-1", catalogue=make_catalogue(seed=seed))
        for seed in (1, 2)
    )
    for bundle in (first, second):
        key.sign(bundle.folder, MANIFEST)
    break_off(first, near)
    begun = rf"{near.url}/made-1: an upload of another bundle .* remove that folder"
    with pytest.raises(BundleError, match=begun):
        upload(second, near)
    assert upload(first, near) == "made-1"
    with pytest.raises(BundleError, match="holds another bundle of version 'made-1'"):
        upload(second, near)


@pytest.mark.parametrize("moment", ["create", "put"])
def test_a_claim_that_another_one_writes_over_is_lost(
    source: Bundle, near: RemoteBundles, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """As on a file system that writes over what should only be created."""
    there = getattr(ObjectStore, moment)

    def overtaken(self: ObjectStore, *given: Any) -> None:
        there(self, *given)
        monkeypatch.setattr(ObjectStore, moment, there)
        self.write(f"made-1/{placing.CLAIM}", b"another digest")

    monkeypatch.setattr(ObjectStore, moment, overtaken)
    if moment == "create":
        assert upload(source, near) != "made-1"
    else:
        with pytest.raises(BundleUnavailable, match="made-1: another upload took it"):
            upload(source, near)
    assert MANIFEST not in near.store.list("made-1")


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
