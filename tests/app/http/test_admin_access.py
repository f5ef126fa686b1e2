"""Tokens of operators: in the store as digests, with roles, changed without a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.http import failed_attempts
from app.http.failed_attempts import MAX_ADDRESSES, MAX_FAILURES, WINDOW_S, FailedAttempts
from app.main import create_app
from model_store import keys
from model_store.embedded import EmbeddedStore
from model_store.errors import InputError
from model_store.store import connect
from model_store.tokens import Tokens
from tests.app.conftest import AS_ADMIN, TOKEN, secret_of, serving, settings_for
from tests.app.telemetry.test_metrics import metric


@pytest.fixture
def tokens(store: EmbeddedStore) -> Iterator[Tokens]:
    with connect(store.url) as client:
        yield Tokens(client)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time for failed attempts, which each test begins without any that count: it moves on."""
    later = [0.0]
    real = failed_attempts.monotonic
    monkeypatch.setattr(failed_attempts, "monotonic", lambda: real() + later[0])

    def advance(seconds: float) -> None:
        later[0] += seconds

    return advance


@contextmanager
def from_address(http: TestClient, address: str) -> Iterator[None]:
    """Requests come from this address."""
    transport: Any = http._transport
    before, transport.client = transport.client, (address, 50_000)
    try:
        yield
    finally:
        transport.client = before


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def status(http: TestClient, token: str, path: str = "whoami") -> int:
    return http.get(f"/admin/{path}", headers=bearer(token)).status_code


def test_a_token_works_from_its_creation_to_its_revocation(
    http: TestClient, tokens: Tokens
) -> None:
    record, token = tokens.create("read", "grafana")
    answer = http.get("/admin/whoami", headers=bearer(token)).json()
    assert answer == {"id": record.id, "role": "read", "note": "grafana", "expires": None}
    other, second = tokens.create("operate")
    assert status(http, second) == status(http, token, "models") == 200
    tokens.revoke(record.id)
    assert status(http, token) == 401
    assert status(http, second) == 200
    assert http.get("/admin/whoami", headers=AS_ADMIN).json()["id"] == "environment"
    assert [one.id for one in tokens.records()] == [other.id]


def test_a_token_ends_at_its_time(http: TestClient, tokens: Tokens) -> None:
    _, ended = tokens.create("operate", expires_after=timedelta(0))
    assert status(http, ended) == 401
    record, token = tokens.create("operate", expires_after=timedelta(days=1))
    answer = http.get("/admin/whoami", headers=bearer(token)).json()
    assert record.expires is not None
    assert answer["expires"] == record.expires.isoformat().replace("+00:00", "Z")


def test_the_store_holds_no_token(tokens: Tokens, store: EmbeddedStore) -> None:
    record, token = tokens.create("operate", "deployments")
    with connect(store.url) as client:
        entry = client.hget(keys.TOKENS, record.id)
    assert isinstance(entry, bytes)
    assert secret_of(token).encode() not in entry
    assert record.digest.encode() in entry
    assert record.digest not in repr(record)


def test_a_token_is_not_another_one_with_its_id(http: TestClient, tokens: Tokens) -> None:
    record, token = tokens.create("read")
    wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
    for given in (wrong, token[:-1], f"{token}A", f"lt_{record.id}_{record.digest[:43]}"):
        assert status(http, given) == 401, given
    answer = http.get("/admin/whoami", headers={"Authorization": f"Basic {token}"})
    assert answer.status_code == 401


def test_reading_may_read_and_nothing_else(http: TestClient, tokens: Tokens) -> None:
    """Of every route under /admin, also of those to come."""
    _, token = tokens.create("read")
    n_methods = {"get": 0, "other": 0}
    for path, operations in http.get("/openapi.json").json()["paths"].items():
        if not path.startswith("/admin"):
            continue
        for method in operations:
            is_reading = method == "get"
            n_methods["get" if is_reading else "other"] += 1
            answer = http.request(method, path, headers=bearer(token), json={})
            assert (answer.status_code == 403) != is_reading, (method, path)
            if not is_reading:
                assert "has the role 'read'; this needs 'operate'" in answer.json()["detail"]
            else:
                assert http.head(path, headers=bearer(token)).status_code == answer.status_code
    assert min(n_methods.values()) >= 3


def test_a_change_is_logged_with_the_tokens_id(
    http: TestClient, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.http.admin_access")
    record, token = tokens.create("operate", "deployments")
    answer = http.post("/admin/models/no%0Asuch/activate", headers=bearer(token))
    assert answer.status_code == 404
    [line] = [one for one in caplog.records if one.name == "app.http.admin_access"]
    assert line.getMessage() == (
        f"POST '/admin/models/no\\nsuch/activate' by token {record.id} (deployments)"
    )
    assert line.__dict__["request_id"] == answer.headers["X-Request-ID"]
    assert secret_of(token) not in caplog.text


def test_the_audit_names_the_token_of_a_change_and_not_its_secret(
    own_http: TestClient, second: str, tokens: Tokens
) -> None:
    record, token = tokens.create("operate", "deployments")
    nameless, other = tokens.create("operate")
    arms = [{"name": name, "share": 50} for name in ("a", "b")]
    changes: list[tuple[str, str, object]] = [
        (token, f"models/{second}/activate", None),
        (other, "models/rollback", None),
        (TOKEN, f"models/{second}/activate", None),
        (token, "models/made-1/canary", {"percent": 5}),
        (token, "models/made-1/promote", None),
        (token, f"models/{second}/shadow", {"share": 5}),
        (token, "experiments/x", {"arms": arms}),
    ]
    for given, path, body in changes:
        answer = own_http.post(f"/admin/{path}", headers=bearer(given), json=body)
        assert answer.status_code == 200, (path, answer.text)
    assert own_http.delete("/admin/experiments/x", headers=bearer(token)).status_code == 200
    answer = own_http.get("/admin/deployment", headers=bearer(token))
    audit = answer.json()["audit"][:8][::-1]
    assert {one["why"] for one in audit} == {"admin API"}
    named = f"token {record.id} (deployments)"
    assert [one["who"] for one in audit] == [
        *(named, f"token {nameless.id}", "token environment (LONGTAIL_ADMIN_TOKEN)"),
        *[named] * 5,
    ]
    for secret in (secret_of(token), secret_of(other), TOKEN):
        assert secret not in answer.text


def test_wrong_tokens_are_limited_by_address(
    http: TestClient, tokens: Tokens, clock: Callable[[float], None]
) -> None:
    lines = {
        f'longtail_admin_failures_total{{reason="{reason}"}}': n
        for reason, n in {"wrong": MAX_FAILURES + 1, "limited": 2, "missing": 20, "role": 1}.items()
    }
    before = {line: metric(http, line) or 0.0 for line in lines}
    _, reader = tokens.create("read")
    with from_address(http, "198.51.100.7"):
        assert http.post("/admin/models/rollback", headers=bearer(reader)).status_code == 403
        for _ in range(20):  # who forgets the token guesses nothing
            assert http.get("/admin/whoami").status_code == 401
        for n in range(MAX_FAILURES):
            assert status(http, f"wrong-{n}") == 401
        for headers in (bearer("wrong"), AS_ADMIN):
            answer = http.get("/admin/whoami", headers=headers)
            assert answer.status_code == 429
            assert 0 < int(answer.headers["Retry-After"]) <= WINDOW_S
        assert http.post("/recommend", json={"user_id": "u1"}).status_code == 200
    with from_address(http, "198.51.100.8"):
        assert status(http, reader) == 200
    clock(WINDOW_S)
    with from_address(http, "198.51.100.7"):
        assert status(http, reader) == 200
        assert status(http, "wrong") == 401
    assert {line: (metric(http, line) or 0.0) - before[line] for line in lines} == lines


def test_an_ipv6_network_counts_as_one_address() -> None:
    attempts = FailedAttempts()
    for n in range(MAX_FAILURES):
        attempts.add(f"2001:db8:0:1::{n:x}")
        attempts.add(f"::ffff:192.0.2.{n}")
    assert attempts.wait_s("2001:db8:0:1:ffff::1") > 0
    assert attempts.wait_s("2001:db8:0:2::1") == 0
    assert attempts.wait_s("192.0.2.1") == 0
    for _ in range(MAX_FAILURES - 1):
        attempts.add("192.0.2.1")
    assert attempts.wait_s("::ffff:192.0.2.1") > 0


def test_failures_of_a_bounded_number_of_addresses_are_remembered() -> None:
    attempts = FailedAttempts()
    for _ in range(MAX_FAILURES):
        attempts.add("late")
    for n in range(MAX_ADDRESSES):
        attempts.add(f"early-{n}")
        if n == MAX_ADDRESSES // 2:
            attempts.add("late")
    assert len(attempts._failures) == MAX_ADDRESSES
    assert attempts.wait_s("late") > 0


def test_without_a_token_in_the_environment(
    store: EmbeddedStore, client: redis.Redis, folder: Path
) -> None:
    tokens = Tokens(client)
    _, token = tokens.create("operate")
    with serving(settings_for(store.url, folder, admin_token=None)) as http:
        for headers in ({}, bearer("anything at all")):
            answer = http.get("/admin/whoami", headers=headers)
            assert answer.status_code == 403
            assert "closed" in answer.json()["detail"]
        assert status(http, token) == 200
        assert status(http, f"{token[:-2]}zz") == 401
        client.hset(keys.TOKENS, token.split("_")[1], b'{"id": "no record"}')
        assert status(http, token) == 401
        assert tokens.records() == []


def test_an_entry_that_is_no_record_is_told_of_once(
    http: TestClient, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Where callers need keys, all entries are read every second."""
    client.hset(keys.TOKENS, "01234567", b'{"id": "no record"}')
    with from_address(http, "198.51.100.9"):
        for _ in range(3):
            assert status(http, "lt_01234567_" + "x" * 43) == 401
    client.hset(keys.TOKENS, "01234567", b'{"id": "nor is this"}')
    with from_address(http, "198.51.100.9"):
        assert status(http, "lt_01234567_" + "x" * 43) == 401
    lines = [one for one in caplog.records if one.name == "model_store.tokens"]
    assert len(lines) == 2
    client.hdel(keys.TOKENS, "01234567")


def test_while_the_store_is_away_the_environments_token_is_right(folder: Path) -> None:
    with serving(settings_for("redis://127.0.0.1:1/0", folder)) as http:
        answer = http.get("/admin/whoami", headers=bearer("lt_01234567_" + "x" * 43))
        assert answer.status_code == 503
        assert "LONGTAIL_ADMIN_TOKEN" in answer.json()["detail"]
        assert http.get("/admin/whoami", headers=AS_ADMIN).status_code == 200


@pytest.mark.parametrize("note", ["two\nlines", "x" * 101])
def test_a_note_is_one_short_line(tokens: Tokens, note: str) -> None:
    with pytest.raises(InputError, match="--note"):
        tokens.create("read", note)


def test_services_of_one_process_share_routes_and_answer_for_themselves(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    apps = {
        token: create_app(settings_for(store.url, tmp_path / token, admin_token=token))
        for token in ("first-token-of-two", "second-token-of-two")
    }
    first, second = [{id(route) for route in app.routes} for app in apps.values()]
    assert len(first & second) > len(first) / 2
    for token, app in apps.items():
        http = TestClient(app)
        assert [status(http, other) == 200 for other in apps] == [other == token for other in apps]
