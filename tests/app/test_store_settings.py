"""A store that can't be used is one line at the start that names the setting, without secrets."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import longtail
from app.main import create_app
from app.settings import PREFIX, read_settings
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError
from tests.app.conftest import settings_for
from tests.app.store.link import linked, n_commands
from tests.free_ports import free_port

LONGTAIL = Path(__file__).parents[2] / "longtail.py"
SECRET = "pa-ss-word"
UNUSABLE = {
    f"redis://:{SECRET}/x@h/0": "LONGTAIL_REDIS_PASSWORD",
    f"redis+sentinel://:{SECRET}@h": "redis+sentinel://",
    f"redis://me:{SECRET}@h/0abc": "'0abc' is not a number",
    "redis://me@h/0": "without a password",
    f"rediss://:{SECRET}@h/0?ssl_ca_certs=/nowhere/ca.pem": "/nowhere/ca.pem",
    f"rediss://:{SECRET}@h/0?ssl_ciphers=ALL": "ssl_ciphers",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LONGTAIL_STORE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(tmp_path / "bundles"))


@pytest.mark.parametrize(
    "command",
    [
        ("serve",),
        ("models", "list"),
        ("publish", "--bundle", "{bundle}"),
        ("evaluate",),
    ],
)
@pytest.mark.parametrize(("url", "said"), UNUSABLE.items())
def test_a_url_that_cant_be_used(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    synthetic_bundle: Bundle,
    command: tuple[str, ...],
    url: str,
    said: str,
) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", url)
    arguments = [part.format(bundle=synthetic_bundle.folder) for part in command]
    assert longtail.main(arguments) == 1
    output = capsys.readouterr()
    [line] = (output.out + output.err).splitlines()
    assert "LONGTAIL_REDIS_URL=" in line
    assert said in line
    assert SECRET not in line


def test_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", "redis://me@h/1")
    monkeypatch.setenv("LONGTAIL_REDIS_PASSWORD", SECRET)
    settings = read_settings()
    assert settings.redis_url is not None
    assert settings.redis_url.password == SECRET
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()}"
    monkeypatch.setenv("LONGTAIL_REDIS_URL", f"redis://me:{SECRET}@h/1")
    monkeypatch.delenv("LONGTAIL_REDIS_PASSWORD")
    assert SECRET not in f"{read_settings()!r}"


def test_a_cluster_is_named_as_the_cause(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def reply(chunk: bytes) -> bytes:
        return b"-MOVED 3999 10.0.0.2:6379\r\n" * n_commands(chunk)

    with linked(reply=reply) as link:
        monkeypatch.setenv("LONGTAIL_REDIS_URL", link.url)
        assert longtail.main(["models", "list"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "MOVED 3999 10.0.0.2:6379" in line
    assert "LONGTAIL_REDIS_URL names one node of a cluster" in line


def fill_disk() -> None:
    """As near to a full disk as an unprivileged process gets: no file may grow."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize("external", [False, True])
def test_a_full_disk_is_found_at_the_start(
    store: EmbeddedStore, tmp_path: Path, external: bool
) -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if external:
        environment["LONGTAIL_REDIS_URL"] = store.url
    done = subprocess.run(
        [sys.executable, str(LONGTAIL), "serve", "--port", str(free_port())],
        env=environment,
        preexec_fn=fill_disk,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if "LONGTAIL_STORE_DIR" in line]
    assert str(tmp_path / "store") in line
    assert "File too large" in line
    assert "Traceback" not in done.stderr


def as_file(path: Path) -> Path:
    path.write_text("in the way")
    return path


@pytest.mark.parametrize("make", [as_file, lambda _path: Path("/proc/self")])
def test_a_folder_that_cant_be_written_is_found_at_the_start(
    store: EmbeddedStore, folder: Path, make: Callable[[Path], Path]
) -> None:
    unwritable = make(folder / "journals")
    with pytest.raises(ConfigError, match="LONGTAIL_STORE_DIR") as caught:
        create_app(settings_for(store.url, folder, store_dir=unwritable))
    assert str(unwritable) in str(caught.value)
    with pytest.raises(ConfigError, match="LONGTAIL_STORE_DIR"):
        EmbeddedStore(unwritable).start()
