"""Nothing holds the event loop for long, whatever is asked: others wait for it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.http.requests import MAX_BATCH, MAX_BODY_BYTES, MAX_EVENTS
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.app.conftest import publish_and_activate, settings_for
from tests.app.listening import Listening, listening
from tests.app.watchdog import Watchdog, watched_loops
from tests.synthetic_bundle import make_bundle, make_catalogue

LIMIT_MS = 5.0
N_ITEMS = 40_000


@pytest.fixture(scope="module")
def watched(
    store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Listening, Watchdog]]:
    folder = tmp_path_factory.mktemp("loop")
    catalogue = make_catalogue(n_items=N_ITEMS, history_length=50)
    bundle = make_bundle(folder / "made-1", catalogue=catalogue)
    with connect(store.url) as client:
        client.flushall()
    publish_and_activate(bundle, folder, store.url)
    settings = settings_for(store.url, folder)
    with watched_loops() as watchdog, listening(settings, loop="asyncio") as running:
        yield running, watchdog


def ids(n: int, start: int = 1) -> list[str]:
    return [f"i{number}" for number in range(start, start + n)]


def filled(size: int) -> bytes:
    """A body of about so many bytes, full of candidates."""
    request = {"history": ids(50), "candidates": ids(10_000, 10_000)}
    n = size // len(json.dumps(request)) 
    return json.dumps({"requests": [request] * n}).encode()


POST: dict[str, tuple[str, Any]] = {
    "a user": ("/recommend", {"user_id": "u1"}),
    "ten thousand candidates": ("/recommend", {"user_id": "u1", "candidates": ids(10_000)}),
    "ten thousand exclusions": ("/recommend", {"user_id": "u1", "exclude": ids(10_000)}),
    "a long history": ("/recommend", {"history": ids(10_000)}),
    "all of them": (
        "/recommend",
        {
            "history": ids(10_000),
            "exclude": ids(10_000, 10_000),
            "candidates": ids(10_000, 20_000),
            "k": 1_000,
            "fields": ["title", "genres", "year"],
        },
    ),
    "a thousand filter values": (
        "/recommend",
        {
            "user_id": "u1",
            "filters": {
                "genres": {"none": [f"genre {n}" for n in range(1_000)]},
                "title": {"any": [f"Item {n}" for n in range(1_000)]},
            },
        },
    ),
    "the longest answer": (
        "/recommend",
        {"user_id": "u1", "k": 1_000, "explain": True, "fields": ["title", "genres", "year"]},
    ),
    "the largest batch": (
        "/recommend/batch",
        {"requests": [{"user_id": f"u{n % 12}", "k": 10} for n in range(MAX_BATCH)]},
    ),
    "a large batch of long answers": (
        "/recommend/batch",
        {"requests": [{"user_id": f"u{n % 12}", "k": 100, "fields": ["title"]} for n in range(MAX_BATCH)]},
    ),
    "the longest answers": (
        "/recommend/batch",
        {"requests": [{"user_id": f"u{n % 12}", "k": 1_000} for n in range(MAX_BATCH)]},
    ),
    "a thousand events": (
        "/events",
        {"events": [{"user_id": f"e{n % 100}", "item_id": f"i{n + 1}"} for n in range(MAX_EVENTS)]},
    ),
    "a body of two megabytes": ("/recommend/batch", filled(MAX_BODY_BYTES)),
    "a wrong body of two megabytes": ("/recommend/batch", b'{"requests": [' + b"1," * 1_000_000 + b"1]}"),
    "two megabytes of nesting": ("/recommend", b"[" * 2_000_000),
    "wrong in each of many places": ("/recommend", {"history": [1] * 300_000}),
}  # fmt: skip
GET = ["/items/i1/similar?k=1000&fields=title", "/health/ready", "/metrics", "/openapi.json", "/docs"]


def send(service: Listening, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request(method, path, body)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def check(watched: tuple[Listening, Watchdog], method: str, path: str, body: bytes | None) -> None:
    """Of a few tries the best: what else the machine does makes single ones longer."""
    service, watchdog = watched
    send(service, method, path, body)  # the first time some things are made
    tries = []
    for _ in range(4):
        watchdog.take()
        assert send(service, method, path, body) in {200, 422}
        tries.append(watchdog.take())
    print("MEASURED", method, path, min(tries)[0], min(tries)[1][:150])
    assert min(tries)[0] < LIMIT_MS, min(tries)


@pytest.mark.alone
@pytest.mark.parametrize("name", POST)
def test_no_request_holds_the_loop(watched: tuple[Listening, Watchdog], name: str) -> None:
    path, body = POST[name]
    check(watched, "POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.alone
@pytest.mark.parametrize("path", GET)
def test_no_look_holds_the_loop(watched: tuple[Listening, Watchdog], path: str) -> None:
    check(watched, "GET", path, None)
