"""POST /events: durable once acknowledged, seen by the next request, harmless when repeated."""

from __future__ import annotations

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
    send(http, {"user_id": "u5", "item_id": new[1], "timestamp": 2e9})
    send(http, {"user_id": "u5", "item_id": new[0], "timestamp": 1.9e9})
    assert ids_for(http, user_id="u5") == ids_for(http, history=[*stored, *new])
    # One that happened before all others goes to the front, whenever it was told.
    send(http, {"user_id": "u5", "item_id": "i60", "timestamp": 5})
    assert ids_for(http, user_id="u5") == ids_for(http, history=["i60", *stored, *new])


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
    assert server.llen(keys.events_key("e3")) == 2
    answer = http.post("/recommend", json={"user_id": "e3"}).json()
    assert answer["served_by"] == "model"
    assert answer["degraded"] == ["unknown_items:1"]


def test_lists_keep_the_last_thousand(http: TestClient, server: redis.Redis) -> None:
    events = [{"user_id": "e4", "item_id": f"i{1 + n % 60}", "timestamp": n} for n in range(1_000)]
    send(http, *events)
    send(http, {"user_id": "e4", "item_id": "i30", "timestamp": 5_000})
    assert server.llen(keys.events_key("e4")) == keys.MAX_EVENTS_PER_USER
    expected = [event["item_id"] for event in events[-49:]] + ["i30"]
    got = ids_for(http, user_id="e4", exclude_seen=False)
    assert got == ids_for(http, history=expected, exclude_seen=False)


def test_a_single_event_needs_no_list(http: TestClient) -> None:
    response = http.post("/events", json={"user_id": "e5", "item_id": "i2", "rating": 4.5})
    assert response.json()["accepted"] == 1
    assert ids_for(http, user_id="e5") == ids_for(http, history=["i2"])


def test_odd_ids_survive(http: TestClient) -> None:
    for user_id in ("u ser", "użytkownik 🎬", "a\r\nDEL x", "0" * 512, "\x00"):
        send(http, {"user_id": user_id, "item_id": "i8"})
        assert ids_for(http, user_id=user_id) == ids_for(http, history=["i8"])
