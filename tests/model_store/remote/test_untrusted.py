"""Bundles that nobody trusted has signed, and places that can't be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from model_store import download
from model_store.bundle import MANIFEST, Bundle
from model_store.bundle_cache import BundleCache
from model_store.errors import BundleError, BundleUnavailable, ConfigError
from model_store.object_store import ObjectStore
from model_store.private_key import PrivateKey
from model_store.remote_bundles import RemoteBundles, bundles_from
from model_store.signatures import SIGNATURE, Trust
from tests.model_store.remote.conftest import SIZE_BYTES, make, order_of, upload
from tests.s3_server import (
    SECRET,
    content_of,
    forget_clients,
)
from tests.synthetic_bundle import make_catalogue


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
