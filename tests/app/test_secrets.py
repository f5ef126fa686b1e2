"""No token, key or password is ever shown, whatever goes wrong."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

import longtail
from app.settings import read_settings
from model_store import keys
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from model_store.tokens import Tokens
from tests.app.conftest import TOKEN

SECRET = "x7secret/of@tests"
WITH_SECRET = {
    "LONGTAIL_ADMIN_TOKEN": SECRET,
    "LONGTAIL_REDIS_PASSWORD": SECRET,
    "LONGTAIL_LLM_API_KEY": SECRET,
    "LONGTAIL_CALLER_KEY": SECRET,
    "LONGTAIL_RERANK_API_KEY": SECRET,
    "LONGTAIL_RERANK_URL": f"https://user:{quote(SECRET, safe='')}@elsewhere/v1",
}


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A service that answers every request with the same bytes; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """Run `longtail` with secrets around: exit status, and all that is shown."""

    def run_it(*arguments: str, **variables: str) -> tuple[int, str]:
        folders = {name: str(tmp_path / name) for name in ("STORE_DIR", "BUNDLES_DIR")}
        given = {f"LONGTAIL_{name}": value for name, value in folders.items()}
        for name, value in {**given, **WITH_SECRET, **variables}.items():
            monkeypatch.setenv(name, value)
        status = longtail.main(arguments)
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    return run_it


def check_hidden(shown: str) -> None:
    """Nor is a part of it, which would tell what it begins or ends with."""
    assert shown
    for part in (SECRET, SECRET[:8], SECRET[-8:], "x7secret%2F"):
        assert part not in shown


WRONG_SETTINGS = [
    {"LONGTAIL_ADMIN_TOKEN": f"{SECRET}\n{SECRET}"},
    {"LONGTAIL_ADMIN_TOKEN": SECRET[:5]},
    {"LONGTAIL_ADMIN_TOKEN": f"{SECRET}é"},
    {"LONGTAIL_PORT": "no port"},
    {"LONGTAIL_RERANK_URL": f"http://user:{SECRET}@host"},
    {"LONGTAIL_RERANK_API_KEY": f"{SECRET}é"},
    {"LONGTAIL_REDIS_URL": f"redis://user:{SECRET}@127.0.0.1:1/zero"},
    {"LONGTAIL_REDIS_URL": f"reddis://:{SECRET}@host/0"},
    {"LONGTAIL_REDIS_URL": f"redis://host/0?password={SECRET}&wrong=1"},
]
STORE_AWAY = [
    {"LONGTAIL_REDIS_URL": f"redis://:{SECRET.replace('/', '%2F')}@127.0.0.1:1/0"},
    {"LONGTAIL_REDIS_URL": "redis://127.0.0.1:1"},
]
CASES = [
    *((("models", "list"), variables) for variables in WRONG_SETTINGS + STORE_AWAY),
    # It would go on without a store that is away.
    *((("serve", "--bundle", "nowhere"), variables) for variables in WRONG_SETTINGS),
]


@pytest.mark.parametrize(("command", "variables"), CASES, ids=range(len(CASES)))
def test_wrong_settings_show_no_secret(
    run: Callable[..., tuple[int, str]], command: tuple[str, ...], variables: dict[str, str]
) -> None:
    status, shown = run(*command, **variables)
    assert status == 1
    assert shown.count("\n") == 1, shown
    check_hidden(shown)


@pytest.mark.parametrize(
    "flags",
    [
        ("--url", "http://127.0.0.1:1"),
        ("--url", "ftp://host"),
        ("--url", f"http://user:{SECRET}@127.0.0.1:1"),
        ("--url", f"http://{SECRET}@host:port"),
        ("--url", "http://127.0.0.1:1", "--token", f"{SECRET}\n{SECRET}"),
        ("--url", "http://127.0.0.1:1", "--token", f"{SECRET}\n"),
        ("--url", "http://127.0.0.1:1", "--token", f"{SECRET}\N{SNOWMAN}"),
    ],
    ids=range(7),
)
def test_a_command_that_asks_a_service_shows_no_secret(
    run: Callable[..., tuple[int, str]], flags: tuple[str, ...]
) -> None:
    for action in (("list",), ("show", "v"), ("activate", "v"), ("rollback",)):
        status, shown = run("models", *action, *flags)
        assert status == 1
        assert shown.count("\n") == 1, shown
        check_hidden(shown)


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{{{",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\n",
        b"",
    ],
)
def test_a_service_that_answers_nonsense_makes_no_secret_shown(
    run: Callable[..., tuple[int, str]], answer: bytes
) -> None:
    with answering(answer) as port:
        status, shown = run("models", "list", "--url", f"http://127.0.0.1:{port}")
    assert status == 1
    assert shown.count("\n") == 1, shown
    check_hidden(shown)


def test_a_redirect_gets_no_token(run: Callable[..., tuple[int, str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        location = b"http://127.0.0.1:%d/" % elsewhere.getsockname()[1]
        answer = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location
        with answering(answer) as port:
            status, shown = run("models", "list", "--url", f"http://127.0.0.1:{port}")
        assert (status, "302" in shown) == (1, True)
        elsewhere.settimeout(0.05)
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_the_service_shows_no_token(http: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for given in (SECRET, f"{TOKEN}{SECRET}", TOKEN[:-1]):
        for scheme in ("Bearer", "Basic", "bearer "):
            answer = http.get("/admin/models", headers={"Authorization": f"{scheme} {given}"})
            assert answer.status_code == 401
            assert given not in answer.text + str(answer.headers)
    for path in ("/openapi.json", "/docs", "/metrics", "/health/ready"):
        assert TOKEN not in http.get(path).text
    assert SECRET not in caplog.text
    assert TOKEN not in caplog.text


def test_no_token_of_the_store_is_shown(
    http: TestClient, store: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with connect(store.url) as client:
        tokens = Tokens(client)
        (reader, read), (record, revoked) = tokens.create("read", "a"), tokens.create("operate")
        tokens.revoke(record.id)
        client.hset(keys.TOKENS, record.id, f"no record, but {revoked}")
    shown = ""
    for token in (read, revoked, f"{read}x"):
        for path in ("models", "whoami", "models/v/activate"):
            for method in ("GET", "POST"):
                headers = {"Authorization": f"Bearer {token}"}
                answer = http.request(method, f"/admin/{path}", headers=headers)
                shown += str(answer.headers) + answer.text
    shown += "".join(http.get(path).text for path in ("/metrics", "/health/ready", "/openapi.json"))
    for part in (read[12:], revoked[12:], reader.digest, record.digest):
        assert part not in shown + caplog.text


def test_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WITH_SECRET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LONGTAIL_REDIS_URL", "redis://host/0")
    settings = read_settings()
    check_hidden(f"{settings} {settings!r} {settings.model_dump()} {settings.redis_url}")
