"""Nothing holds the event loop for long, whatever is asked: others wait for it."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.deployment.routing import is_sampled
from app.http.requests import MAX_BATCH, MAX_BODY_BYTES, MAX_EVENTS
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.app.conftest import publish_and_activate, settings_for
from tests.app.listening import Listening, listening
from tests.app.loop_watch import MAX_HELD_S, Held, shortest_held, watched_loops
from tests.synthetic_bundle import make_bundle, make_catalogue

N_ITEMS = 40_000


@pytest.fixture(scope="module")
def watched(
    store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Listening, Held]]:
    folder = tmp_path_factory.mktemp("loop")
    catalogue = make_catalogue(n_items=N_ITEMS, history_length=50)
    bundle = make_bundle(folder / "made-1", catalogue=catalogue)
    with connect(store.url) as client:
        client.flushall()
    publish_and_activate(bundle, folder, store.url)
    settings = settings_for(store.url, folder).model_copy(update={"exposure_share": 0.9})
    with watched_loops() as held, listening(settings, loop="asyncio") as running:
        yield running, held


def ids(n: int, start: int = 1) -> list[str]:
    return [f"i{number}" for number in range(start, start + n)]


def filled(size: int) -> bytes:
    """A body of about so many bytes, full of candidates."""
    request = {"history": ids(50), "candidates": ids(10_000, 10_000)}
    n = size // len(json.dumps(request))
    return json.dumps({"requests": [request] * n}).encode()


# What the pipeline computes has tests of its own; these are about bodies, answers and events.
RIGHT: dict[str, tuple[str, Any]] = {
    "a user": ("/recommend", {"user_id": "u1"}),
    "the longest lists": (
        "/recommend",
        {
            "history": ids(10_000),
            "exclude": ids(10_000, 10_000),
            "candidates": ids(10_000, 20_000),
            "k": 1_000,
            "fields": ["title", "genres", "year"],
        },
    ),
    "a batch of two megabytes": ("/recommend/batch", filled(MAX_BODY_BYTES)),
    "the longest answers": (
        "/recommend/batch",
        {"requests": [{"user_id": f"u{n % 12}", "k": 250} for n in range(MAX_BATCH)]},
    ),
    "a thousand events": (
        "/events",
        {"events": [{"user_id": f"e{n % 100}", "item_id": f"i{n + 1}"} for n in range(MAX_EVENTS)]},
    ),
}  # fmt: skip
WRONG = {
    "no objects in a batch": ("/recommend/batch", b'{"requests": [%s1]}' % (b"1," * 1_000_000)),
    "no requests in a batch": ("/recommend/batch", b'{"requests": [%s{}]}' % (b"{}," * 600_000)),
    "nesting": ("/recommend", b"[" * 2_000_000),
    "no texts in a history": ("/recommend", b'{"history": [%s1]}' % (b"1," * 1_000_000)),
    "unknown fields": ("/recommend", json.dumps(dict.fromkeys(ids(150_000), 1)).encode()),
    "too many filters": (
        "/recommend",
        json.dumps({"history": [], "filters": {name: {} for name in ids(100_000)}}).encode(),
    ),
    "no events": ("/events", b'{"events": [%s{}]}' % (b"{}," * 600_000)),
}  # fmt: skip
GET = [
    "/items/i1/similar?k=1000&fields=title",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/docs",
]


def send(service: Listening, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request(method, path, body)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def check(
    watched: tuple[Listening, Held], method: str, path: str, body: bytes | None, status: int = 200
) -> None:
    service, held = watched
    send(service, method, path, body)  # the first time some things are made

    def ask() -> None:
        assert send(service, method, path, body) == status
        # The answer comes before its callback ends, which is noted once another one is answered.
        send(service, "GET", "/health/live")

    seconds, callback = shortest_held(held, ask)
    assert seconds < MAX_HELD_S, callback


def encode(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.alone
@pytest.mark.parametrize("name", RIGHT)
def test_no_request_holds_the_loop(watched: tuple[Listening, Held], name: str) -> None:
    path, body = RIGHT[name]
    check(watched, "POST", path, encode(body))


def test_clicks_are_counted_a_few_at_a_time(
    watched: tuple[Listening, Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, _ = watched
    log = running.app.state.service.exposure_log
    takes, at_once = log.takes, [0]

    def counted(request_id: str) -> bool:
        if at_once[-1] == 0:
            asyncio.get_running_loop().call_soon(at_once.append, 0)  # when others had their turn
        at_once[-1] += 1
        return bool(takes(request_id))

    monkeypatch.setattr(log, "takes", counted)
    clicks = [
        {"user_id": f"e{n}", "item_id": f"i{n + 1}", "request_id": f"r{n}"}
        for n in range(MAX_EVENTS)
    ]
    assert send(running, "POST", "/events", encode({"events": clicks})) == 200
    sampled = sum(is_sampled(click["user_id"]) for click in clicks)
    assert sum(at_once) == sampled
    assert max(at_once) < sampled / 4


@pytest.mark.alone
@pytest.mark.parametrize("name", WRONG)
def test_no_wrong_body_holds_the_loop(watched: tuple[Listening, Held], name: str) -> None:
    path, body = WRONG[name]
    assert len(body) <= MAX_BODY_BYTES
    check(watched, "POST", path, body, 422)


@pytest.mark.alone
@pytest.mark.parametrize("path", GET)
def test_no_look_holds_the_loop(watched: tuple[Listening, Held], path: str) -> None:
    check(watched, "GET", path, None)
