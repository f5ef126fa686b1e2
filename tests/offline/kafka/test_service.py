"""What a service takes, what it rejects, and how it is waited for."""

from __future__ import annotations

import asyncio
import json

import pytest

from model_store.errors import ConfigError, InputError
from offline.kafka import service
from offline.kafka.service import EventsEndpoint
from tests.offline.kafka.stub_service import Answer, Stub, items


def post(url: str, n: int = 1, patience_s: float | None = None) -> dict[int, str]:
    events = [json.dumps({"user_id": "u1", "item_id": f"i{number}"}) for number in range(n)]

    async def run() -> dict[int, str]:
        async with EventsEndpoint(url, lambda: False, patience_s) as endpoint:
            return await endpoint.post([one.encode() for one in events])

    return asyncio.run(run())


def test_an_overloaded_service_is_waited_for_as_it_asks(
    stub: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Stub.answers = [(429, {"Retry-After": "1"}, ""), (503, {"Retry-After": "2"}, "")]
    assert post(stub) == {}
    assert items() == ["i0"]
    first, second, third = Stub.asked_s
    assert 1 <= second - first < 2
    assert 2 <= third - second < 3
    assert capsys.readouterr().err.count("429 Too Many Requests; waiting") == 1


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ((401, {}, '{"detail": "needs a key"}'), "401 needs a key; LONGTAIL_CALLER_KEY is unset"),
        ((404, {}, "?"), "404 Not Found"),
        ((302, {"Location": "/"}, ""), "302 Found"),
        ((200, {}, "<html>"), "not a recommendation service; it answered '<html>'"),
    ],
)
def test_where_no_service_is_that_is_said(answer: Answer, shown: str, stub: str) -> None:
    Stub.answers = [answer]
    with pytest.raises(InputError) as caught:
        post(stub)
    assert str(caught.value) == f"{stub}/events: {shown}".replace(
        "is unset", "is unset (`longtail tokens create --role call` makes one)"
    )


def test_patience_ends(stub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_LOOK_S", 0.01)
    Stub.answers = [(503, {"Retry-After": "0"}, "")] * 1_000
    with pytest.raises(InputError, match="503 Service Unavailable; not taken for 0 s"):
        post(stub, patience_s=0.2)


def test_the_event_that_a_rejection_names_is_left_out(stub: str) -> None:
    wrong = {"detail": "wrong", "errors": [{"field": "events[1].rating"}]}
    Stub.answers = [(422, {}, json.dumps(wrong))]
    assert post(stub, 4) == {1: "wrong"}
    assert items() == ["i0", "i2", "i3"]


def test_a_batch_that_is_rejected_as_a_whole_is_split(stub: str) -> None:
    # Of all four, of the first two, and of the first.
    Stub.answers = [(413, {}, ""), (413, {}, ""), (413, {}, '{"detail": "too long"}')]
    assert post(stub, 4) == {0: "too long"}
    assert items() == ["i1", "i2", "i3"]


@pytest.mark.parametrize("url", ["localhost:8000", "http://", "http://[::1", "http://a\tb"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match="--url"):
        post(url)


def test_a_pause_of_nothing_is_a_short_one(stub: str) -> None:
    Stub.answers = [(503, {"Retry-After": "0"}, "")]
    assert post(stub) == {}
    first, second = Stub.asked_s
    assert 0.1 <= second - first < 1
