"""The log: one line a change of state, request ids of failures, JSON where it is wanted."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.http import failure_log, problems
from app.http.failure_log import FailureLog
from app.store.state import StoreState
from app.telemetry.logs import JsonFormatter, configure_logging
from app.telemetry.metrics import MULTIPROCESS_DIR
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from tests.app.conftest import service_of, serving, settings_for
from tests.app.deployment.test_lifecycle import activate
from tests.synthetic_bundle import make_bundle

FULL = redis.exceptions.ResponseError("OOM command not allowed when used memory > 'maxmemory'")


def test_a_store_that_is_there_from_the_start_is_nothing_to_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = StoreState()
    state.reads_work()
    state.writes_work()
    state.probed([None, None])
    assert caplog.messages == []


def test_each_change_of_the_store_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    state = StoreState()
    state.probed([None, None])
    state.away("no connection")
    state.away("no connection, tried again")
    state.probed([None, FULL])
    state.probed([None, FULL])
    state.probed([None, None])
    beginnings = ("the store is away: no", "the store is read-only: ", "the store is back")
    assert [m.startswith(b) for m, b in zip(caplog.messages, beginnings, strict=True)] == [True] * 3
    assert caplog.messages[-1].endswith("(it was read-only)")


def test_a_change_is_one_line_whatever_the_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(MULTIPROCESS_DIR, str(tmp_path))
    workers = [StoreState() for _ in range(5)]
    for state in workers:
        state.probed([None, None])
    for _ in range(2):
        caplog.clear()
        for state in workers:
            state.away("no connection")
        for state in workers:
            state.probed([None, None])
        assert [message.split(":")[0] for message in caplog.messages] == [
            "the store is away",
            "the store is back",
        ]
    caplog.clear()
    for has in (False, True):
        for state in workers:
            state.has_version("v1", has)
    assert [message[:26] for message in caplog.messages] == [
        "the store lacks version v1",
        "the store holds version v1",
    ]


def test_a_start_without_the_store_is_said(caplog: pytest.LogCaptureFixture) -> None:
    StoreState().away("no connection")
    assert caplog.messages[0].startswith("STARTING WITHOUT THE STORE: the store is away: no")


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Any]]:
    return [(r.getMessage(), r.__dict__.get("request_id")) for r in caplog.records]


def test_a_503_is_logged_with_its_request_id(
    store: EmbeddedStore, folder: Path, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.flushall()
    with serving(settings_for(store.url, folder)) as http:
        caplog.clear()
        for number in range(3):
            headers = {"X-Request-ID": f"call-{number}"}
            asked = {"history": ["i1"]}
            assert http.get("/health/ready").status_code == 503  # what probes ask is no failure
            assert http.post("/recommend", json=asked, headers=headers).status_code == 503
    [(message, request_id)] = [one for one in logged(caplog) if "answered 503" in one[0]]
    assert "no model is loaded" in message
    assert request_id == "call-0"


def test_a_version_that_fails_its_checks_is_logged_with_the_request_id(
    own_http: TestClient, client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lying = make_bundle(tmp_path / "lying", version="lying", with_wrong_golden=True)
    publish(lying, service_of(own_http).settings.bundles_dir, client)
    caplog.clear()
    response = activate(own_http, "lying")
    assert response.status_code == 424
    [(message, request_id)] = [one for one in logged(caplog) if "answered 424" in one[0]]
    assert "golden request 0" in message
    assert request_id == response.headers["x-request-id"]


def test_a_500_is_logged_with_its_trace_and_request_id(
    own_http: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service_of(own_http).metrics, "stages", None)
    response = own_http.post("/recommend", json={"history": ["i1"]})
    assert response.status_code == 500
    [record] = [r for r in caplog.records if r.exc_info]
    assert record.__dict__["request_id"] == response.headers["x-request-id"]


def test_failures_that_are_alike_are_one_line_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 0.0
    monkeypatch.setattr(failure_log, "monotonic", lambda: now_s)
    failures = FailureLog()
    for second in range(25):
        now_s = float(second)
        failures.note(503, "no model", f"r{second}")
    failures.note(503, "another", "x")
    assert logged(caplog) == [
        ("answered 503: no model", "r0"),
        ("answered 503: no model (and 9 more before)", "r10"),
        ("answered 503: no model (and 9 more before)", "r20"),
        ("answered 503: another", "x"),
    ]


@pytest.mark.usefixtures("client")
def test_a_service_that_is_asked_whether_it_is_ready_logs_no_failure(
    store: EmbeddedStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(problems, "_failures", FailureLog())
    with serving(settings_for(store.url, tmp_path)) as http:  # nothing is published
        assert http.get("/health/ready").status_code == 503
        assert logged(caplog) == []
        assert http.post("/recommend", json={"history": ["i1"]}).status_code == 503
        assert len(logged(caplog)) == 1


def test_many_kinds_of_failures_take_no_memory() -> None:
    failures = FailureLog()
    for number in range(10_000):
        failures.note(503, f"reason {number}", "r")
    assert len(failures._written_s) <= 100


@pytest.fixture
def as_set_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("as_set_before")
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_has_the_set_form(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", form)
    log = logging.getLogger("app.x")
    log.debug("not shown")
    log.warning("two\nlines of %s", "ünïcode", extra={"request_id": "r1"})
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it failed")
    shown = capsys.readouterr().err
    if form == "text":
        assert "WARNING app.x: two\nlines of ünïcode (request r1)\n" in shown
        assert shown.splitlines()[-1] == "ValueError: why"
        return
    first, second = map(json.loads, shown.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first.pop("process") > 0
    assert first == {
        "level": "warning",
        "logger": "app.x",
        "message": "two\nlines of ünïcode",
        "request_id": "r1",
    }
    assert second["exception"].splitlines()[-1] == "ValueError: why"
    assert "request_id" not in second


def test_a_record_that_cannot_be_encoded_is_still_a_line() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "half \ud83d", (), None)
    assert json.loads(JsonFormatter().format(record))["message"] == "half \ud83d"
