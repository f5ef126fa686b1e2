"""Signed bundles: what a signature covers, and whose are accepted."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from pathlib import Path

import pytest
import redis

from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.bundle_writer import copy_bundle
from model_store.errors import BundleError, BundleUnavailable, ConfigError
from model_store.private_key import PrivateKey
from model_store.publication import publish
from model_store.registry import Registry
from model_store.signatures import SIGNATURE, PublicKey, Trust, read_keys, trust_from
from tests.damage import restate
from tests.synthetic_bundle import make_bundle, make_catalogue


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return PrivateKey.make(tmp_path_factory.mktemp("keys") / "release.key")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return PrivateKey.make(tmp_path_factory.mktemp("keys") / "foreign.key")


@pytest.fixture(scope="module")
def trust(key: PrivateKey) -> Trust:
    return Trust((key.public,), is_required=True)


@pytest.fixture(scope="module")
def signed_once(tmp_path_factory: pytest.TempPathFactory, key: PrivateKey) -> Path:
    bundle = make_bundle(tmp_path_factory.mktemp("signed") / "made-1", with_reranker=True)
    key.sign(bundle.folder, files.MANIFEST)
    return bundle.folder


@pytest.fixture
def signed(signed_once: Path, tmp_path: Path) -> Path:
    """A signed bundle of one test, which may change it."""
    return Path(shutil.copytree(signed_once, tmp_path / "build" / "made-1"))


def test_a_bundle_with_a_trusted_signature_is_opened(signed: Path, trust: Trust) -> None:
    assert Bundle.open(signed, trust=trust).version == "made-1"
    assert Bundle.open(signed, verify=False, trust=trust).version == "made-1"


def test_the_signature_covers_every_file(signed: Path, trust: Trust) -> None:
    """A changed bit of any file is found, and the manifest is the only one without a digest."""
    names = {path.name for path in signed.iterdir()}
    manifest = Bundle.open(signed).manifest
    assert names == {*manifest.files, files.MANIFEST, SIGNATURE}
    assert {files.GOLDEN, files.MODEL, files.RERANKER, files.USER_ITEMS} <= set(manifest.files)
    for name in sorted(manifest.files):
        path = signed / name
        content = path.read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        with pytest.raises(BundleError, match=f"{name}: sha256 differs"):
            Bundle.open(signed, trust=trust)
        path.write_bytes(content)
    assert Bundle.open(signed, trust=trust)


def test_files_that_somebody_adds_are_not_read(signed: Path, trust: Trust) -> None:
    manifest = Bundle.open(signed).manifest
    known = {value for value in vars(files).values() if isinstance(value, str) and "." in value}
    known = {name for name in known if "/" not in name and not name.startswith("model_store")}
    added = {name for name in known if name.endswith((".npy", ".json", ".faiss", ".bin"))}
    added -= {*manifest.files, files.MANIFEST}
    assert files.RETRIEVER_LISTS in added
    for name in added:
        (signed / name).write_bytes(b"not what it seems")
    bundle = Bundle.open(signed, trust=trust)
    assert (bundle.retriever_list_ids, len(list(bundle.users()))) == (None, 12)


def test_files_that_agree_with_a_changed_manifest_are_not_accepted(
    signed: Path, trust: Trust, key: PrivateKey
) -> None:
    golden = json.loads((signed / files.GOLDEN).read_bytes())
    (signed / files.GOLDEN).write_text(json.dumps(golden, indent=1))
    restate(signed)
    assert Bundle.open(signed).version == "made-1"  # it is whole, but not what was signed
    with pytest.raises(BundleError) as error:
        Bundle.open(signed, trust=trust)
    assert str(error.value) == (
        f"version 'made-1' has no trusted signature: the key {key.public.id} signed another "
        "manifest; this one was changed since"
    )


def test_a_bundle_without_a_signature_is_rejected(signed: Path, trust: Trust) -> None:
    (signed / SIGNATURE).unlink()
    with pytest.raises(BundleError, match="'made-1' has no trusted signature: there is no manif"):
        Bundle.open(signed, trust=trust)


def test_a_foreign_signature_is_rejected_until_its_key_is_trusted(
    signed: Path, trust: Trust, foreign: PrivateKey
) -> None:
    foreign.sign(signed, files.MANIFEST)
    with pytest.raises(BundleError, match=f"the key {foreign.public.id} is not trusted"):
        Bundle.open(signed, trust=trust)
    both = Trust((*trust.keys, foreign.public), is_required=True)
    assert Bundle.open(signed, trust=both).version == "made-1"


def test_a_foreign_signature_under_a_trusted_name_is_rejected(
    signed: Path, trust: Trust, key: PrivateKey, foreign: PrivateKey
) -> None:
    foreign.sign(signed, files.MANIFEST)
    document = json.loads((signed / SIGNATURE).read_bytes())
    (signed / SIGNATURE).write_text(json.dumps({**document, "key": key.public.id}))
    with pytest.raises(BundleError, match="signed another manifest"):
        Bundle.open(signed, trust=trust)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"nonsense", b"\xff" * 100, b"[" * 900, b'{"key": "0123456789abcdef"}'],
)
def test_a_damaged_signature_is_rejected(signed: Path, trust: Trust, content: bytes) -> None:
    (signed / SIGNATURE).write_bytes(content)
    with pytest.raises(BundleError, match=r"its manifest\.sig can't be read as one"):
        Bundle.open(signed, trust=trust)


def test_where_signatures_are_off_none_is_looked_at(signed: Path) -> None:
    (signed / SIGNATURE).write_bytes(b"nonsense")
    assert Bundle.open(signed, trust=Trust()).version == "made-1"


# --- publishing -----------------------------------------------------------------------------


def test_a_published_copy_has_the_manifest_byte_for_byte(
    signed: Path, bundles: Path, client: redis.Redis, trust: Trust
) -> None:
    # An edit that means nothing; a manifest of another release may be written differently too.
    manifest = signed / files.MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes())))
    with pytest.raises(BundleError, match="signed another manifest"):
        publish(Bundle.open(signed), bundles, client, trust=trust)
    assert (list(bundles.iterdir()), client.dbsize()) == ([], 0)
    restored = copy_bundle(Bundle.open(signed), bundles / "made-1").folder
    assert (restored / files.MANIFEST).read_bytes() == manifest.read_bytes()


def test_a_signed_bundle_is_published_with_its_signature(
    signed: Path, bundles: Path, client: redis.Redis, trust: Trust
) -> None:
    assert publish(Bundle.open(signed), bundles, client, trust=trust).version == "made-1"
    assert Bundle.open(bundles / "made-1", trust=trust).version == "made-1"


def test_an_unsigned_bundle_that_is_published_gets_the_signature_of_its_twin(
    signed: Path, bundles: Path, client: redis.Redis, trust: Trust
) -> None:
    publish(Bundle.open(signed), bundles, client)
    (bundles / "made-1" / SIGNATURE).unlink()
    publish(Bundle.open(signed), bundles, client, trust=trust)
    assert Bundle.open(bundles / "made-1", trust=trust)
    assert len(Registry(client).records()) == 1


def test_a_signed_bundle_keeps_its_version(
    signed: Path, bundles: Path, client: redis.Redis, tmp_path: Path, trust: Trust
) -> None:
    other = make_bundle(tmp_path / "other", version="made-1", catalogue=make_catalogue(seed=2))
    publish(other, bundles, client)
    with pytest.raises(BundleError, match="holds another bundle of version 'made-1', and a signed"):
        publish(Bundle.open(signed), bundles, client, trust=trust)


# --- keys -----------------------------------------------------------------------------------


def test_a_private_key_is_for_its_owner_alone(tmp_path: Path, signed: Path) -> None:
    path = tmp_path / "own.key"
    public = PrivateKey.make(path).public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PublicKey.parse(path.with_name("own.key.pub").read_text()) == public
    assert PrivateKey.read(path).public == public
    with pytest.raises(ConfigError, match="can't be written"):
        PrivateKey.make(path)
    assert PrivateKey.read(path).public == public
    # The private key may be kept elsewhere.
    kept = path.rename(tmp_path / "kept.key")
    with pytest.raises(ConfigError, match=r"own\.key\.pub: the key can't be written"):
        PrivateKey.make(path)
    assert not path.exists()
    assert PublicKey.parse(path.with_name("own.key.pub").read_text()) == public
    kept.rename(path)
    path.with_name("own.key.pub").unlink()
    with pytest.raises(ConfigError, match="can't be written"):
        PrivateKey.make(path)
    assert not path.with_name("own.key.pub").exists()
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"others may read this key \(mode 640\)"):
        PrivateKey.read(path)


@pytest.mark.parametrize(
    "content", [b"", b"secret-material", b"-----BEGIN PRIVATE KEY-----\nsecre"]
)
def test_a_file_that_is_no_key_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"wrong\.key: not an Ed25519 private key") as error:
        PrivateKey.read(path)
    assert "secre" not in str(error.value)


def test_a_folder_that_cannot_be_signed_is_named(tmp_path: Path, key: PrivateKey) -> None:
    with pytest.raises(BundleUnavailable, match="nowhere: can't be signed"):
        key.sign(tmp_path / "nowhere", files.MANIFEST)


def test_trust_is_read_from_the_environment(key: PrivateKey, foreign: PrivateKey) -> None:
    text = f"{key.public}, {foreign.public},"
    assert read_keys(text) == (key.public, foreign.public)
    given = {"LONGTAIL_TRUSTED_KEYS": text, "LONGTAIL_BUNDLE_SIGNATURES": "required"}
    assert trust_from(given) == Trust((key.public, foreign.public), is_required=True)
    assert trust_from({}) == Trust()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"LONGTAIL_TRUSTED_KEYS": "ed25519:AAAA"}, "a public key is ed25519: and 32 bytes"),
        ({"LONGTAIL_TRUSTED_KEYS": "A" * 43 + "="}, "a public key is ed25519:"),
        ({"LONGTAIL_BUNDLE_SIGNATURES": "on"}, "'on': must be off or required"),
        ({"LONGTAIL_BUNDLE_SIGNATURES": "required"}, "LONGTAIL_TRUSTED_KEYS is unset"),
    ],
)
def test_settings_that_cannot_be_followed_are_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trust_from(given)


def test_a_policy_that_nothing_is_installed_for_ends_the_start(
    key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "cryptography.hazmat.primitives.asymmetric.ed25519"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"needs a package: pip install 'longtail\[signatures\]'"):
        trust_from(
            {"LONGTAIL_TRUSTED_KEYS": str(key.public), "LONGTAIL_BUNDLE_SIGNATURES": "required"}
        )
