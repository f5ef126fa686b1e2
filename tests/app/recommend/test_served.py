"""Feeds that don't repeat: `exclude_served` leaves out what the last answers had."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.store.connection import StoreConnection
from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.served import MAX_ANSWERS, MAX_MINUTES
from model_store.store import connect
from tests.app.conftest import AS_ADMIN, publish_and_activate, serving, settings_for
from tests.app.store.conftest import kill
from tests.synthetic_bundle import Catalogue


@pytest.fixture(scope="module")
def http(
    store: EmbeddedStore, synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("service")
    client = connect(store.url)
    client.flushall()
    client.close()
    publish_and_activate(synthetic_bundle, folder, store.url)
    settings = settings_for(store.url, folder, session_prefix="s:", session_ttl_s=100)
    with serving(settings) as http:
        yield http


@pytest.fixture
def stored(store: EmbeddedStore) -> Iterator[redis.Redis]:
    """A client of the store as the service left it."""
    client = connect(store.url)
    yield client
    client.close()


def ask(http: TestClient, user_id: str, **fields: Any) -> dict[str, Any]:
    response = http.post("/recommend", json={"user_id": user_id, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def page(http: TestClient, user_id: str, k: int = 10, **served: Any) -> list[str]:
    answer = ask(http, user_id, k=k, exclude_served=served)
    assert "served" not in answer["degraded"]
    return [item["item_id"] for item in answer["items"]]


@pytest.mark.parametrize("user_id", ["u1", "a stranger"])
def test_pages_of_a_feed_go_through_everything_once(
    http: TestClient, catalogue: Catalogue, user_id: str
) -> None:
    seen = catalogue.histories.get(user_id, ())
    n_left = len(catalogue.ids) - len(set(map(int, seen)))
    whole = ask(http, user_id, k=1_000)["items"]
    pages: list[str] = []
    while found := page(http, user_id, answers=MAX_ANSWERS):
        pages += found
    assert pages == [item["item_id"] for item in whole]
    assert len(pages) == n_left


def test_only_the_last_answers_are_left_out(http: TestClient) -> None:
    first, second = page(http, "u2", answers=1), page(http, "u2", answers=1)
    assert not set(first) & set(second)
    assert page(http, "u2", answers=1) == first
    third = page(http, "u2", answers=3)
    assert not set(third) & {*first, *second}


def test_answers_of_some_minutes_are_left_out(http: TestClient, stored: redis.Redis) -> None:
    first = page(http, "u3", minutes=5)
    assert not set(page(http, "u3", minutes=5)) & set(first)
    key = keys.served_key("u3")
    for place, age_s in enumerate((10, 600)):
        _, item_ids = json.loads(stored.lindex(key, place))
        stored.lset(key, place, json.dumps([int(time.time()) - age_s, item_ids]))
    assert page(http, "u3", minutes=5) == first


def test_a_request_without_it_keeps_nothing_and_is_not_kept(
    http: TestClient, stored: redis.Redis
) -> None:
    plain = [item["item_id"] for item in ask(http, "u4")["items"]]
    assert stored.exists(keys.served_key("u4")) == 0
    assert page(http, "u4", answers=5) == plain


def test_few_answers_are_kept_and_not_for_good(http: TestClient, stored: redis.Redis) -> None:
    for _ in range(MAX_ANSWERS + 3):
        page(http, "u5", k=1, answers=1)
    key = keys.served_key("u5")
    assert stored.llen(key) == MAX_ANSWERS
    assert MAX_MINUTES * 60 - 100 < stored.ttl(key) <= MAX_MINUTES * 60
    page(http, "s:5", answers=1)
    assert 90 < stored.ttl(keys.served_key("s:5")) <= 100


def test_requests_of_a_batch_have_each_their_own(http: TestClient) -> None:
    requests = [
        {"user_id": "u6", "exclude_served": {"answers": 5}},
        {"user_id": "u7"},
        {"user_id": "u8", "exclude_served": {"minutes": 5}},
    ]

    def ids() -> list[set[str]]:
        answers = http.post("/recommend/batch", json={"requests": requests}).json()["responses"]
        return [{item["item_id"] for item in answer["items"]} for answer in answers]

    first, second = ids(), ids()
    assert not first[0] & second[0]
    assert first[1] == second[1]
    assert not first[2] & second[2]


def test_a_history_in_the_request_goes_with_it(http: TestClient) -> None:
    def ids() -> set[str]:
        fields = {"history": ["i3", "i4"], "exclude_served": {"answers": 5}}
        return {item["item_id"] for item in ask(http, "u9", **fields)["items"]}

    assert not ids() & ids()


def test_reading_takes_no_round_trip_of_its_own(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    send = StoreConnection._send

    def note(connection: StoreConnection) -> None:
        content = b"".join(connection._unsent)
        if b"u10" in content:
            sent.append(content)
        send(connection)

    monkeypatch.setattr(StoreConnection, "_send", note)
    ask(http, "u10")
    assert len(sent) == 1
    sent.clear()
    page(http, "u10", answers=1)
    [reading, writing] = sent
    assert b"LRANGE" in reading
    assert b"ZRANGE" in reading
    assert b"LPUSH" in writing


def test_a_forgotten_person_has_been_answered_nothing(
    http: TestClient, stored: redis.Redis
) -> None:
    page(http, "u11", answers=1)
    http.delete("/users/u11", headers=AS_ADMIN)
    assert stored.exists(keys.served_key("u11")) == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"history": ["i1"], "exclude_served": {"answers": 1}}, "exclude_served needs a user_id"),
        ({"user_id": "u1", "exclude_served": {}}, "needs either answers or minutes"),
        (
            {"user_id": "u1", "exclude_served": {"answers": 1, "minutes": 1}},
            "needs either answers or minutes",
        ),
        ({"user_id": "u1", "exclude_served": {"answers": 51}}, "exclude_served.answers"),
        ({"user_id": "u1", "exclude_served": {"minutes": 0}}, "exclude_served.minutes"),
    ],
)
def test_what_can_not_be_meant_is_named(http: TestClient, body: dict[str, Any], said: str) -> None:
    response = http.post("/recommend", json=body)
    assert response.status_code == 422
    assert said in response.json()["detail"]


def test_a_damaged_list_is_labelled_and_costs_no_answer(
    http: TestClient, stored: redis.Redis
) -> None:
    stored.lpush(keys.served_key("u12"), "{")
    answer = ask(http, "u12", exclude_served={"answers": 1})
    assert answer["degraded"] == ["served"]
    assert len(answer["items"]) == 10


def test_while_the_store_is_away_answers_may_repeat(
    synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "bundles").mkdir()
    with EmbeddedStore(tmp_path / "store", fsync="everysec") as own:
        publish_and_activate(synthetic_bundle, tmp_path, own.url)
        with serving(settings_for(own.url, tmp_path)) as http:
            first = page(http, "u1", answers=5)
            kill(own)
            answer = ask(http, "u1", exclude_served={"answers": 5})
            assert set(answer["degraded"]) == {"served", "features"}
            assert [item["item_id"] for item in answer["items"]] == first
