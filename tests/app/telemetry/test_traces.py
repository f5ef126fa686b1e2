"""Traces arrive at a collector of OpenTelemetry; without the setting there is nothing of it."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from app import settings
from app.settings import read_settings
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError
from tests.app.conftest import publish_and_activate, service_of, serving, settings_for
from tests.free_ports import free_port

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(values_of(group.resource))
            self.spans += [span for scope in group.scope_spans for span in scope.spans]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_packed = self.headers.get("Content-Encoding") == "gzip"
        collector: Collector = self.server  # type: ignore[assignment]
        collector.take(gzip.decompress(body) if is_packed else body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def values_of(thing: Any) -> dict[str, str]:
    return {one.key: one.value.string_value or str(one.value.int_value) for one in thing.attributes}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{running.server_address[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        yield running
        running.shutdown()
        thread.join()


@contextmanager
def tracing(
    store: EmbeddedStore, bundle: Bundle, folder: Path, **of: object
) -> Iterator[TestClient]:
    """A service whose traces have arrived when this is over."""
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder, traces="otlp", **of)) as http:
        yield http


def test_a_request_is_a_span_with_its_stages(
    collector: Collector,
    store: EmbeddedStore,
    client: redis.Redis,
    synthetic_bundle: Bundle,
    folder: Path,
) -> None:
    with tracing(store, synthetic_bundle, folder, traces_share=1.0) as http:
        answer = http.post("/recommend", json={"user_id": "u1"})
        wrong = http.post("/recommend", json={"k": 0})
        http.post("/events", json={"user_id": "a-person", "item_id": "i1"})
        http.get("/health/ready")
    assert (answer.status_code, wrong.status_code) == (200, 422)
    assert collector.resources[0]["service.name"] == "longtail"
    roots = [span for span in collector.spans if not span.parent_span_id]
    assert [one.name for one in roots] == ["POST /recommend", "POST /recommend", "POST /events"]
    by_id = {values_of(one)["longtail.request_id"]: one for one in roots}
    root = by_id[answer.headers["X-Request-ID"]]
    assert values_of(root) == {
        "http.request.method": "POST",
        "http.route": "/recommend",
        "http.response.status_code": "200",
        "longtail.request_id": answer.headers["X-Request-ID"],
        "longtail.model_version": "made-1",
        "longtail.served_by": "model",
    }
    stages = [span for span in collector.spans if span.parent_span_id == root.span_id]
    assert [one.name for one in stages] == ["features", "inference"]
    timings = answer.json()["timings_ms"]
    at = root.start_time_unix_nano
    for stage in stages:
        assert stage.trace_id == root.trace_id
        assert at <= stage.start_time_unix_nano
        at = stage.end_time_unix_nano
        took_ms = (at - stage.start_time_unix_nano) / 1e6
        assert took_ms == pytest.approx(timings[stage.name], abs=1e-3)
    assert at <= root.end_time_unix_nano
    assert values_of(by_id[wrong.headers["X-Request-ID"]])["http.response.status_code"] == "422"
    assert not [span for span in collector.spans if "a-person" in str(span)]


def test_a_callers_decision_is_followed(
    collector: Collector,
    store: EmbeddedStore,
    client: redis.Redis,
    synthetic_bundle: Bundle,
    folder: Path,
) -> None:
    def headers(flag: str, trace: str = TRACE) -> dict[str, str]:
        return {"traceparent": f"00-{trace}-{PARENT}-{flag}"}

    for share in (0.0, 1.0):
        with tracing(store, synthetic_bundle, folder, traces_share=share) as http:
            for flag in ("00", "01"):
                http.post("/recommend", json={"user_id": "u1"}, headers=headers(flag))
            # Nothing that can be read: as if there were none.
            http.post("/events", json={}, headers=headers("01", trace="0" * 32))
            http.post("/events", json={}, headers={"traceparent": "no context"})
        heads = [span for span in collector.spans if span.name.startswith("POST")]
        recommended = [one for one in heads if one.name == "POST /recommend"]
        [span] = recommended
        assert span.trace_id.hex() == TRACE
        assert span.parent_span_id.hex() == PARENT
        assert len(heads) - 1 == (2 if share else 0)
        collector.spans.clear()


def test_the_environments_names_win(
    collector: Collector,
    store: EmbeddedStore,
    client: redis.Redis,
    synthetic_bundle: Bundle,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-recommendations")
    with tracing(store, synthetic_bundle, folder, traces_share=1.0) as http:
        http.post("/recommend", json={"user_id": "u1"})
    assert {one["service.name"] for one in collector.resources} == {"shop-recommendations"}


def test_a_collector_that_is_away_hurts_nobody(
    store: EmbeddedStore,
    client: redis.Redis,
    synthetic_bundle: Bundle,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with tracing(store, synthetic_bundle, folder, traces_share=1.0) as http:
        for _ in range(3):
            assert http.post("/recommend", json={"user_id": "u1"}).status_code == 200
        ended_at = time.monotonic()
    assert time.monotonic() - ended_at < 8  # it would try for ten seconds


def test_without_the_setting_nothing_of_it_is_there(http: TestClient) -> None:
    assert service_of(http).traces is None
    endpoints = http.app.outermost._shortcuts.values()  # type: ignore[attr-defined]
    assert [one for one in endpoints if "traced" in one.__qualname__] == []


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_TRACES", "otlp")
    monkeypatch.setattr(settings, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"^LONGTAIL_TRACES='otlp': .*longtail\[serve,traces\]"):
        read_settings()
