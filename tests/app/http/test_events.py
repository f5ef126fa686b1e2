"""POST /events: durable once acknowledged, seen by the next request, harmless when repeated."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from model_store import keys
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.synthetic_bundle import Catalogue


@pytest.fixture
def server(store: EmbeddedStore) -> redis.Redis:
    return connect(store.url)


def send(http: TestClient, *events: dict[str, Any]) -> dict[str, Any]:
    response = http.post("/events", json={"events": list(events)})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids_for(http: TestClient, **request: Any) -> list[str]:
    answer = http.post("/recommend", json={"k": 60, **request}).json()
    return [item["item_id"] for item in answer["items"]]


def test_the_next_request_sees_them(http: TestClient) -> None:
    assert http.post("/recommend", json={"user_id": "e1"}).json()["served_by"] == "popular"
    answer = send(http, {"user_id": "e1", "item_id": "i7"}, {"user_id": "e1", "item_id": "i9"})
    assert answer == {"accepted": 2, "unknown_items": 0, "degraded": []}
    assert ids_for(http, user_id="e1") == ids_for(http, history=["i7", "i9"])


def test_they_are_ordered_by_time_and_come_after_what_is_stored(
    http: TestClient, catalogue: Catalogue
) -> None:
    stored = [catalogue.ids.id_of(int(index)) for index in catalogue.histories["u5"]]
    new = [item_id for item_id in catalogue.ids.ids if item_id not in stored][:2]
    now = time.time()
    send(http, {"user_id": "u5", "item_id": new[1], "timestamp": now - 100})
    send(http, {"user_id": "u5", "item_id": new[0], "timestamp": now - 200})
    assert ids_for(http, user_id="u5") == ids_for(http, history=[*stored, *new])
    # One that happened before all others goes to the front, even if it is reported late.
    send(http, {"user_id": "u5", "item_id": "i60", "timestamp": 5})
    assert ids_for(http, user_id="u5") == ids_for(http, history=["i60", *stored, *new])


def test_a_time_may_be_written_as_iso_8601(http: TestClient, catalogue: Catalogue) -> None:
    send(http, {"user_id": "iso", "item_id": "i7", "timestamp": "2001-09-09T01:46:40Z"})
    send(http, {"user_id": "iso", "item_id": "i9", "timestamp": "2001-09-09T03:46:39+02:00"})
    send(http, {"user_id": "iso", "item_id": "i5", "timestamp": "2001-09-09 01:46:41"})
    assert ids_for(http, user_id="iso") == ids_for(http, history=["i9", "i7", "i5"])
    for wrong in ("yesterday", "1e9", "0001-01-01", ""):
        event = {"user_id": "iso", "item_id": "i1", "timestamp": wrong}
        answer = http.post("/events", json={"events": [event]})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "events[0].timestamp"
    assert "ISO 8601" in http.post("/events", json={**event, "timestamp": "now"}).json()["detail"]


def test_an_unknown_field_is_called_so(http: TestClient) -> None:
    answer = http.post("/events", json={"user_id": "e", "item_id": "i1", "price": 3})
    assert answer.json()["detail"] == "price: unknown field; GET /docs lists the known ones (got 3)"


def test_repeating_a_call_changes_nothing(http: TestClient) -> None:
    event = {"user_id": "e2", "item_id": "i3", "timestamp": 100}
    later = {"user_id": "e2", "item_id": "i4", "timestamp": 200}
    send(http, event, later)
    once = http.post("/recommend", json={"user_id": "e2", "explain": True}).json()["items"]
    send(http, event)
    send(http, later, event)
    assert http.post("/recommend", json={"user_id": "e2", "explain": True}).json()["items"] == once


def test_an_event_that_is_in_the_stored_history_collapses(
    http: TestClient, catalogue: Catalogue
) -> None:
    first = catalogue.ids.id_of(int(catalogue.histories["u6"][0]))
    before = ids_for(http, user_id="u6")
    send(http, {"user_id": "u6", "item_id": first, "timestamp": 1e9})
    assert ids_for(http, user_id="u6") == before


def test_unknown_items_are_kept_for_later_versions(http: TestClient, server: redis.Redis) -> None:
    answer = send(http, {"user_id": "e3", "item_id": "not yet"}, {"user_id": "e3", "item_id": "i1"})
    assert answer["unknown_items"] == 1
    assert server.zcard(keys.events_key("e3")) == 2
    answer = http.post("/recommend", json={"user_id": "e3"}).json()
    assert answer["served_by"] == "model"
    assert answer["degraded"] == ["unknown_items:1"]


def test_a_thousand_repeats_of_an_event_leave_the_others(
    http: TestClient, server: redis.Redis
) -> None:
    others = [{"user_id": "r1", "item_id": f"i{1 + n % 60}", "timestamp": n} for n in range(100)]
    send(http, *others)
    once = ids_for(http, user_id="r1", exclude_seen=False)
    for _ in range(10):
        send(http, *[others[50]] * 100)
    assert server.zcard(keys.events_key("r1")) == 100
    assert ids_for(http, user_id="r1", exclude_seen=False) == once


def test_repeats_without_a_time_are_one_event_a_second(
    http: TestClient, server: redis.Redis
) -> None:
    for _ in range(3):
        send(http, *[{"user_id": "r2", "item_id": "i5"}] * 300)
    assert 1 <= server.zcard(keys.events_key("r2")) <= 3


def test_late_events_push_out_no_newer_ones(http: TestClient, server: redis.Redis) -> None:
    key = keys.events_key("late")
    newer = [
        {"user_id": "late", "item_id": f"i{1 + n % 60}", "timestamp": 1e9 + n} for n in range(600)
    ]
    send(http, *newer)
    history = [event["item_id"] for event in newer[-50:]]
    late = [{"user_id": "late", "item_id": f"i{1 + n % 60}", "timestamp": n} for n in range(1_000)]
    send(http, *late)
    assert server.zcard(key) == keys.MAX_EVENTS_PER_USER
    assert server.zcount(key, 1e9, "+inf") == 600
    assert server.zcount(key, 0, 599) == 0  # the oldest of the late ones went
    got = ids_for(http, user_id="late", exclude_seen=False)
    assert got == ids_for(http, history=history, exclude_seen=False)


def test_events_of_one_time_are_in_the_order_of_their_arrival(http: TestClient) -> None:
    for item_id in ("i9", "i30", "i2"):
        send(http, {"user_id": "order", "item_id": item_id, "timestamp": 1_000})
    send(http, *({"user_id": "order", "item_id": i, "timestamp": 1_000} for i in ("i7", "i1")))
    expected = ["i9", "i30", "i2", "i7", "i1"]
    assert ids_for(http, user_id="order") == ids_for(http, history=expected)


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.999])
def test_a_fraction_of_a_second_makes_no_other_event(
    http: TestClient, catalogue: Catalogue, fraction: float
) -> None:
    """The base knows whole seconds."""
    before = ids_for(http, user_id="u7")
    first = catalogue.ids.id_of(int(catalogue.histories["u7"][0]))
    send(http, {"user_id": "u7", "item_id": first, "timestamp": 1e9 + fraction})
    assert ids_for(http, user_id="u7") == before
    times = [10.0, 10.0 + fraction, 10.5]
    for time_s in times:
        send(http, {"user_id": f"f{fraction}", "item_id": "i3", "timestamp": time_s})
    send(http, {"user_id": f"f{fraction}", "item_id": "i3", "timestamp": 11})  # another one
    got = ids_for(http, user_id=f"f{fraction}", exclude_seen=False)
    assert got == ids_for(http, history=["i3", "i3"], exclude_seen=False)


@pytest.mark.parametrize("rating", [1e39, -1e39, 3.5e38, 1e300])
def test_a_rating_that_no_float_holds_names_its_event_and_nothing_is_written(
    http: TestClient, server: redis.Redis, rating: float
) -> None:
    events = [
        {"user_id": "r3", "item_id": "i1", "rating": rating},
        {"user_id": "r3", "item_id": "i2", "rating": 4},
    ]
    response = http.post("/events", json={"events": events})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "events[0].rating"
    assert not server.exists(keys.events_key("r3"))
    for extreme in (1e9, -1e9, 1e-300, 0):
        send(http, {"user_id": "r4", "item_id": "i1", "rating": extreme})


@pytest.mark.parametrize("timestamp", [4102444800, 1e11, 2e9])
def test_an_event_of_the_future_does_not_stay_the_newest(
    http: TestClient, timestamp: float
) -> None:
    user_id = f"future{timestamp}"
    send(http, {"user_id": user_id, "item_id": "i1", "timestamp": timestamp})
    send(http, {"user_id": user_id, "item_id": "i2"})
    assert ids_for(http, user_id=user_id) == ids_for(http, history=["i1", "i2"])


def test_lists_keep_the_last_thousand(http: TestClient, server: redis.Redis) -> None:
    events = [{"user_id": "e4", "item_id": f"i{1 + n % 60}", "timestamp": n} for n in range(1_000)]
    send(http, *events)
    send(http, {"user_id": "e4", "item_id": "i30", "timestamp": 5_000})
    assert server.zcard(keys.events_key("e4")) == keys.MAX_EVENTS_PER_USER
    expected = [event["item_id"] for event in events[-49:]] + ["i30"]
    got = ids_for(http, user_id="e4", exclude_seen=False)
    assert got == ids_for(http, history=expected, exclude_seen=False)


def test_a_single_event_needs_no_list(http: TestClient) -> None:
    response = http.post("/events", json={"user_id": "e5", "item_id": "i2", "rating": 4.5})
    assert response.json()["accepted"] == 1
    assert ids_for(http, user_id="e5") == ids_for(http, history=["i2"])


def test_odd_ids_survive(http: TestClient) -> None:
    for user_id in ("u ser", "użytkownik 🎬", "a\r\nDEL x", "0" * 512, "\x00", "*1", "lt:events:"):
        send(http, {"user_id": user_id, "item_id": "i8"})
        assert ids_for(http, user_id=user_id) == ids_for(http, history=["i8"])


@pytest.mark.parametrize("path", ["/events", "/recommend"])
def test_half_a_character_is_no_id(http: TestClient, path: str) -> None:
    body = b'{"user_id": "\\ud800", "item_id": "i1"}'
    if path == "/recommend":
        body = b'{"user_id": "\\ud800"}'
    assert http.post(path, content=body).status_code == 422
