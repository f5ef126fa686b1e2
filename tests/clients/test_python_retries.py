"""What the Python client does when a call fails."""

from __future__ import annotations

import math
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from longtail_client import (
    AnswerTimeoutError,
    ApiError,
    Client,
    InvalidRequestError,
    LongtailError,
    OverloadedError,
    Retries,
    ServiceError,
    UnavailableError,
    UnreachableError,
    UnreadableAnswerError,
    async_client,
    calls,
    client,
)
from longtail_client.exchange import read_retry_after
from tests.clients.both import KINDS, Ask, ask_with
from tests.clients.scripted import BREAK, HANG, Answer, scripted

EVENTS = Answer(body='{"accepted": 1, "unknown_items": 0, "degraded": []}')
ITEMS = Answer(body='{"items": 1, "changed": 1}')
SIMILAR = Answer(body='{"item_id": "1", "model_version": "v", "degraded": [], "items": []}')
BUSY = Answer(429, "", {"Retry-After": "1"})
NOT_READY = Answer(
    503,
    '{"type": "about:blank", "title": "Service Unavailable", "status": 503,'
    ' "detail": "no model is loaded", "request_id": "r-1"}',
    {"Retry-After": "2", "Content-Type": "application/problem+json"},
)
NAMED = {"user_id": "1", "item_id": "2", "event_id": "e-1"}
NAMELESS = {"user_id": "1", "item_id": "2"}


@pytest.fixture(params=KINDS)
def ask(request: pytest.FixtureRequest) -> Ask:
    return ask_with(request.param)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the clients waited, which they don't here."""
    found: list[float] = []

    async def wait(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(client, "time", SimpleNamespace(sleep=found.append))
    monkeypatch.setattr(async_client, "asyncio", SimpleNamespace(sleep=wait))
    return found


def test_a_call_is_repeated_after_as_long_as_the_service_asks(ask: Ask, waits: list[float]) -> None:
    with scripted(NOT_READY, BUSY, SIMILAR) as server:
        assert ask(server.url, "similar_items", "1").model_version == "v"
    assert len(server.requests) == 3
    assert len({one["x-request-id"] for one in server.requests}) == 1
    assert [int(wait) for wait in waits] == [2, 1]


def test_the_last_failure_is_raised(ask: Ask, waits: list[float]) -> None:
    with scripted(NOT_READY) as server, pytest.raises(UnavailableError) as caught:
        ask(server.url, "similar_items", "1", options={"retries": Retries(attempts=4)})
    assert len(server.requests) == 4
    assert len(waits) == 3
    error = caught.value
    assert (error.status, error.detail) == (503, "no model is loaded")
    assert (error.request_id, error.retry_after_s) == ("r-1", 2.0)


def test_a_service_that_asks_for_too_long_a_wait_is_not_waited_for(
    ask: Ask, waits: list[float]
) -> None:
    busy = Answer(429, "", {"Retry-After": "30"})
    with scripted(busy) as server, pytest.raises(OverloadedError) as caught:
        ask(server.url, "similar_items", "1")
    assert (len(server.requests), waits) == (1, [])
    assert caught.value.retry_after_s == 30


@pytest.mark.parametrize("failure", [NOT_READY, Answer(502, "<html>"), Answer(504, ""), BREAK])
def test_events_are_repeated_by_their_event_id(
    ask: Ask, waits: list[float], failure: Answer | str
) -> None:
    with scripted(failure, EVENTS) as server:
        assert ask(server.url, "send_events", [NAMED]).accepted == 1
    assert len(server.requests) == 2
    with scripted(failure, EVENTS) as server, pytest.raises(LongtailError) as caught:
        ask(server.url, "send_events", [NAMED, NAMELESS])
    assert len(server.requests) == 1
    assert caught.value.may_have_acted


@pytest.mark.parametrize("status", [408, 429])
def test_what_was_not_looked_at_is_always_repeated(
    ask: Ask, waits: list[float], status: int
) -> None:
    with scripted(Answer(status, ""), EVENTS) as server:
        assert ask(server.url, "send_events", [NAMELESS]).accepted == 1
    assert len(server.requests) == 2


def test_a_feed_is_not_repeated_where_its_answer_may_have_been_kept(
    ask: Ask, waits: list[float]
) -> None:
    feed: dict[str, Any] = {"user_id": "1", "exclude_served": {"answers": 5}}
    with scripted(BREAK) as server, pytest.raises(UnreachableError):
        ask(server.url, "recommend", **feed)
    assert len(server.requests) == 1
    with scripted(BREAK) as server, pytest.raises(UnreachableError):
        ask(server.url, "recommend_batch", [{"user_id": "2"}, feed])
    assert len(server.requests) == 1
    with scripted(BREAK) as server, pytest.raises(UnreachableError):
        ask(server.url, "recommend", user_id="1")
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500, 501])
def test_what_a_repetition_does_not_mend_is_raised_at_once(ask: Ask, status: int) -> None:
    with scripted(Answer(status, "")) as server, pytest.raises(ApiError) as caught:
        ask(server.url, "similar_items", "1")
    assert len(server.requests) == 1
    assert caught.value.status == status
    kind = ServiceError if status >= 500 else InvalidRequestError
    assert isinstance(caught.value, kind) is (status not in {401, 403, 404, 409})
    assert caught.value.request_id == server.requests[0]["x-request-id"]


def test_probes_are_not_repeated(ask: Ask) -> None:
    for probe in ("ready", "live"):
        with scripted(NOT_READY) as server, pytest.raises(UnavailableError):
            ask(server.url, probe)
        assert len(server.requests) == 1


def test_an_answer_that_does_not_come_in_time(ask: Ask, waits: list[float]) -> None:
    with scripted(HANG) as server:
        with pytest.raises(AnswerTimeoutError, match="GET") as caught:
            options = {"timeout_s": 0.2, "retries": Retries(attempts=2)}
            ask(server.url, "similar_items", "1", options=options)
        assert len(server.requests) == 2
    assert caught.value.may_have_acted


def test_a_service_that_is_not_there(ask: Ask, waits: list[float]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=r"POST http://127\.0\.0\.1") as caught:
            ask(url, "send_events", [NAMELESS])
    assert len(waits) == 2
    assert not caught.value.may_have_acted


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "<html>login</html>"),
        Answer(200, '{"item_id": 7}'),
        Answer(302, "", {"Location": "/x"}),
    ],
)
def test_an_answer_of_something_else(ask: Ask, answer: Answer) -> None:
    with scripted(answer) as server, pytest.raises(UnreadableAnswerError, match="/items/1/similar"):
        ask(server.url, "similar_items", "1", filters={})
    assert len(server.requests) == 1


def test_connections_are_kept() -> None:
    with scripted(SIMILAR) as server, Client(f"{server.url}/") as one:
        for _ in range(3):
            one.similar_items("1")
    assert (len(server.requests), server.n_connections) == (3, 1)


def test_secrets_go_where_they_belong_and_are_not_shown() -> None:
    secrets: dict[str, Any] = {"api_key": "lt_key", "admin_token": "operators"}
    with scripted(SIMILAR, ITEMS, Answer()) as server, Client(server.url, **secrets) as one:
        one.similar_items("1")
        one.change_items([{"item_id": "1", "available": False}])
        one.live()
    sent = [request.get("authorization") for request in server.requests]
    assert sent == ["Bearer lt_key", "Bearer operators", None]
    assert "lt_key" not in repr(one)
    assert "operators" not in repr(vars(one))
    with pytest.raises(ValueError, match="api_key has characters") as caught:
        Client("http://127.0.0.1:1", api_key="half\na key")
    assert "half" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("127.0.0.1:8000", {}, "'127.0.0.1:8000' is not one like http"),
        ("ftp://127.0.0.1", {}, "is not one like http"),
        ("http://anna:secret@127.0.0.1:99999", {}, "the service's URL is not one like"),
        ("http://anna:secret@127.0.0.1", {}, "more than scheme, host"),
        ("http://127.0.0.1/?k=1", {}, "more than scheme, host"),
        ("http://127.0.0.1", {"timeout_s": 0}, "timeout_s=0 is not above 0"),
        ("http://127.0.0.1", {"timeout_s": math.nan}, "timeout_s=nan is not above 0"),
    ],
)
def test_arguments_that_can_not_be_used(url: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Client(url, **options)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"attempts": math.nan}, {"backoff_s": -1}, {"max_wait_s": -0.1}],
)
def test_retries_that_can_not_be_used(wrong: Any) -> None:
    with pytest.raises(ValueError, match="is below"):
        Retries(**wrong)


def test_waits_grow_to_their_limit_and_are_spread() -> None:
    retries = Retries(attempts=20, backoff_s=0.1, max_wait_s=2)
    call = calls.predict_ratings({"item_ids": []})
    error = UnavailableError(503, "", request_id="r")
    for n_failed in range(1, 20):
        waits = [retries.wait_s(call, n_failed, error) for _ in range(200)]
        limit_s = min(2, 0.1 * 2 ** (n_failed - 1))
        found = [wait for wait in waits if wait is not None]
        assert len(found) == 200
        assert 0 <= min(found) < limit_s / 4 < limit_s * 3 / 4 < max(found) <= limit_s
    assert retries.wait_s(call, 20, error) is None


def test_the_two_forms_of_retry_after() -> None:
    assert read_retry_after("7") == 7
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 0 < (read_retry_after(soon) or 0) <= 100
    assert read_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert read_retry_after("soon") is None
    assert read_retry_after(None) is None


def test_a_transport_can_be_given() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=SIMILAR.body)

    with Client("http://shop.example", transport=httpx.MockTransport(answer)) as one:
        assert one.similar_items("1").item_id == "1"
