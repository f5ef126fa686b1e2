"""Reranking measured through a service: a small one, whose reranker is late by one answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pytest

import longtail
from model_store.id_map import IdMap
from offline.data.split import Cases
from offline.evaluate.reranked import as_rows, describe, evaluate_reranked

N_USERS, N_ITEMS = 10, 12
ITEMS = IdMap([f"i{n}" for n in range(1, N_ITEMS + 1)])
USERS = [f"u{n}" for n in range(N_USERS)]
# User n has n + 1 items; i12 comes next for everybody.
CASES = Cases(
    np.arange(N_USERS, dtype=np.int32),
    np.cumsum([0, *range(1, N_USERS + 1)]),
    np.concatenate([np.arange(1, n + 1) for n in range(1, N_USERS + 1)]).astype(np.int32),
    np.full(N_USERS, N_ITEMS, dtype=np.int32),
)


class Service(ThreadingHTTPServer):
    """Reranked answers begin with the target; they are there from the `late`-th request on."""

    late = 1

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: dict[str, int] = {}
        self.requests: list[dict[str, Any]] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        order = ["i11", "i12"]
        outcome = "skipped"
        if request["rerank"] != "never":
            asked = self.asked.get(request["user_id"], 0)
            self.asked[request["user_id"]] = asked + 1
            outcome = "cached" if asked >= self.late else "pending"
            order = order[::-1] if outcome == "cached" else order
        items = [{"item_id": item_id} for item_id in order]
        return {"items": items, "rerank": outcome, "model_version": "v1"}


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(self.server.answer(request)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def url_of(service: Service) -> str:
    return f"http://127.0.0.1:{service.server_port}"


def test_the_second_answer_is_reranked(service: Service) -> None:
    passes = evaluate_reranked(url_of(service), CASES, USERS, ITEMS)
    assert [one.name for one in passes] == ["never", "first", "second"]
    assert [one.figures.outcomes for one in passes] == [
        {"skipped": 2},
        {"pending": 2},
        {"cached": 2},
    ]
    assert passes[0].figures.ndcg == passes[1].figures.ndcg == pytest.approx(1 / np.log2(3))
    assert passes[2].figures.ndcg == 1.0
    assert passes[2].gain_over(passes[0])[0] == pytest.approx(1 - 1 / np.log2(3))


def test_the_fifth_with_the_shortest_histories_is_asked_for(service: Service) -> None:
    evaluate_reranked(url_of(service), CASES, USERS, ITEMS)
    assert {request["user_id"] for request in service.requests} == {"u0", "u1"}


def test_late_answers_are_waited_for(service: Service) -> None:
    service.late = 4
    pauses: list[float] = []
    passes = evaluate_reranked(url_of(service), CASES, USERS, ITEMS, wait=pauses.append)
    assert passes[-1].name == "last"
    assert passes[-1].figures.outcomes == {"cached": 2}
    assert pauses


def test_answers_that_never_come_are_not_waited_for_for_ever(service: Service) -> None:
    service.late = 10**9
    passes = evaluate_reranked(url_of(service), CASES, USERS, ITEMS, wait=lambda _: None)
    assert passes[-1].figures.outcomes == {"pending": 2}


def test_the_table_shows_gains_and_outcomes(service: Service) -> None:
    passes = evaluate_reranked(url_of(service), CASES, USERS, ITEMS)
    table = describe(passes)
    assert "2 tail users" in table
    assert "cached 2" in table
    assert as_rows(passes)[-1]["outcomes"] == {"cached": 2}


def test_no_more_requests_a_second_than_asked_for(service: Service) -> None:
    started_s = time.monotonic()
    evaluate_reranked(url_of(service), CASES, USERS, ITEMS, rps=20)
    assert len(service.requests) == 6
    # The first of each pass is sent at once.
    assert time.monotonic() - started_s >= 3 / 20


@pytest.mark.parametrize(
    ("given", "reason"),
    [(["--rps", "5"], "--rps 5: needs --url"), (["--url", "x", "--rps", "0"], "--rps 0: expected")],
)
def test_a_rate_that_cannot_be_is_one_clear_line(
    given: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert longtail.main(["evaluate", *given]) == 1
    assert reason in capsys.readouterr().err
