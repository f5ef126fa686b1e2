"""`longtail bundle`, and services that load signed bundles only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

import longtail
from app.settings import read_settings
from model_store.bundle import MANIFEST, Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError
from model_store.private_key import PrivateKey
from model_store.registry import Registry
from tests.app.conftest import AS_ADMIN, publish_and_activate, serving, settings_for, wait_for

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    store: EmbeddedStore,
) -> Run:
    def run_it(*words: str, **variables: str) -> tuple[int, str, str]:
        given = {"REDIS_URL": store.url, "BUNDLES_DIR": str(folder / "bundles"), **variables}
        for name, value in given.items():
            monkeypatch.setenv(f"LONGTAIL_{name}", value)
        status = longtail.main(words)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run_it


@pytest.fixture
def build(synthetic_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(synthetic_bundle.folder, tmp_path / "build" / "bundle"))


def test_from_a_key_to_a_verified_bundle(run: Run, build: Path, tmp_path: Path) -> None:
    key = tmp_path / "release.key"
    status, public, said = run("bundle", "keygen", "--out", str(key))
    assert (status, public) == (0, key.with_name("release.key.pub").read_text())
    assert "PRIVATE" not in public + said
    status, said, _ = run("bundle", "sign", str(build), "--key", str(key), "--version", "made-7")
    name = PrivateKey.read(key).public.id
    assert (status, said) == (0, f"version made-7 is signed with the key {name}\n")
    n_files = len(Bundle.open(build).manifest.files)
    verified = f"version made-7: {n_files} files as signed with the key {name}\n"
    assert run("bundle", "verify", str(build), "--trust", public) == (0, verified, "")
    status, said, _ = run("bundle", "verify", str(build), "--json", TRUSTED_KEYS=public)
    assert json.loads(said) == {"version": "made-7", "files": n_files, "key": name}
    (build / "golden.json").write_bytes((build / "golden.json").read_bytes()[:-1] + b" ")
    status, _, said = run("bundle", "verify", str(build))
    assert (status, said.count("\n"), "golden.json" in said) == (1, 1, True)


def test_what_cannot_be_signed_or_verified_is_one_line(
    run: Run, build: Path, tmp_path: Path
) -> None:
    key = tmp_path / "release.key"
    run("bundle", "keygen", "--out", str(key))
    for words, message in (
        (("keygen", "--out", str(key)), "can't be written (File exists)"),
        (("sign", str(tmp_path), "--key", str(key)), "no bundle here"),
        (("sign", str(build), "--key", str(build / MANIFEST)), "others may read this key"),
        (("sign", str(build), "--key", str(key), "--version", "a b"), "--version: version 'a b'"),
        (("verify", str(build)), "no key is trusted"),
        (("verify", str(build), "--trust", "x"), "--trust 'x': a public key is"),
    ):
        status, _, said = run("bundle", *words)
        assert (status, said.count("\n")) == (1, 1), said
        assert message in said


def test_only_signed_bundles_are_published_activated_and_loaded(
    run: Run,
    build: Path,
    folder: Path,
    store: EmbeddedStore,
    client: redis.Redis,
    tmp_path: Path,
    synthetic_bundle: Bundle,
    second: str,
) -> None:
    key = PrivateKey.make(tmp_path / "release.key")
    publish_and_activate(synthetic_bundle, folder, store.url)
    required = {"BUNDLE_SIGNATURES": "required", "TRUSTED_KEYS": str(key.public)}
    for words in (
        ("publish", "--bundle", str(build)),
        ("models", "activate", "made-1"),
        ("models", "canary", "made-1", "--percent", "5"),
    ):
        status, _, said = run(*words, **required)
        assert (status, said.count("\n")) == (1, 1), said
        assert "version 'made-1' has no trusted signature: there is no manifest.sig" in said
    settings = settings_for(
        store.url, folder, bundle_signatures="required", trusted_keys=str(key.public)
    )
    with serving(settings) as http:
        ready = http.get("/health/ready")
        assert (ready.status_code, "no trusted signature" in ready.text) == (503, True)
        key.sign(build, MANIFEST)
        # Published again with a signature, it is loaded without a restart.
        assert run("publish", "--bundle", str(build), **required)[0] == 0
        wait_for(lambda: http.get("/health/ready").status_code == 200)
        response = http.post(f"/admin/models/{second}/activate", headers=AS_ADMIN)
        assert response.status_code != 200
        assert "version 'made-2' has no trusted signature" in response.json()["detail"]
        assert http.get("/health/ready").json()["version"] == "made-1"
    assert Registry(client).active() == "made-1"


def test_a_policy_that_cannot_be_followed_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_BUNDLE_SIGNATURES", "required")
    with pytest.raises(ConfigError, match="LONGTAIL_BUNDLE_SIGNATURES='required': no key is tru"):
        read_settings()
    monkeypatch.setenv("LONGTAIL_TRUSTED_KEYS", "ed25519:short")
    with pytest.raises(ConfigError, match="LONGTAIL_TRUSTED_KEYS='ed25519:short': a public key is"):
        read_settings()
