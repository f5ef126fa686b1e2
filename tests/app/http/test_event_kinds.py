"""Types of event: dislikes are never recommended, repeats count once, kinds come back or don't."""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from model_store import keys
from model_store.codecs import decode_arrived
from model_store.embedded import EmbeddedStore
from model_store.event_rules import DISLIKES, EventRules, EventsInfo
from model_store.store import connect
from tests.app.conftest import publish_and_activate, service_of, serving, settings_for, wait_for
from tests.app.store.conftest import ask, ids_for, stopped
from tests.contracts.tree import ROOT
from tests.synthetic_bundle import Catalogue, make_bundle

RULES = EventRules(
    weights={"purchase": 3},
    negative=("dislike", "return"),
    context=("view",),
    positive_from=4,
    negative_to=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "bundles").mkdir()
    return folder


@pytest.fixture(scope="module")
def http(store: EmbeddedStore, folder: Path, catalogue: Catalogue) -> Iterator[TestClient]:
    bundle = make_bundle(
        folder / "made", catalogue=catalogue, events=EventsInfo(rules=RULES), with_reranker=True
    )
    with connect(store.url) as client:
        client.flushall()
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


@pytest.fixture
def server(store: EmbeddedStore) -> redis.Redis:
    return connect(store.url)


def send(http: TestClient, user_id: str, *events: dict[str, Any]) -> None:
    for event in events:  # one by one, as they happen
        response = http.post("/events", json={"user_id": user_id, **event})
        assert response.status_code == 200, response.text


@pytest.mark.parametrize("dislike", [{"type": "dislike"}, {"type": "return"}, {"rating": 1}])
def test_a_disliked_item_is_in_no_answer_of_the_model(
    http: TestClient, dislike: dict[str, Any]
) -> None:
    person = f"model {dislike}"
    send(http, person, {"item_id": "i7"}, {"item_id": "i9"})
    before = ids_for(http, user_id=person)
    send(http, person, {"item_id": before[0], **dislike})
    for choices in ({}, {"exclude_seen": False}, {"diversity": 0.3}, {"explain": True}):
        answer = ask(http, user_id=person, **choices)
        assert answer["served_by"] == "model"
        assert before[0] not in [item["item_id"] for item in answer["items"]]
    # The dislike changes nothing else: the model never sees it.
    assert ids_for(http, user_id=person) == before[1:]


def test_nor_of_popularity_nor_of_interests(http: TestClient) -> None:
    for number, served_by in enumerate(("popular", "cold_start")):
        asked = {"user_id": f"nobody {number}"} | ({"interests": "western"} if number else {})
        before = ids_for(http, **asked)
        assert ask(http, **asked)["served_by"] == served_by
        send(http, str(asked["user_id"]), {"item_id": before[0], "type": "dislike"})
        answer = ask(http, **asked)
        assert answer["served_by"] == served_by
        assert [item["item_id"] for item in answer["items"]] == before[1:]
        assert answer["degraded"] == []


def test_nor_of_a_batch_nor_while_the_store_is_away(
    http: TestClient, store: EmbeddedStore, folder: Path
) -> None:
    with serving(settings_for(store.url, folder, store_timeout_ms=200)) as other:
        send(other, "away", {"item_id": "i7"}, {"item_id": "i9", "type": "dislike"})
        assert "i9" not in ids_for(other, user_id="away")
        with stopped(store):
            send(other, "away", {"item_id": "i11", "type": "dislike"})
            during = ids_for(other, user_id="away")
            assert {"i9", "i11"}.isdisjoint(during)
        body = {"requests": [{"user_id": "away", "k": 60}, {"user_id": "somebody", "k": 60}]}
        first, second = other.post("/recommend/batch", json=body).json()["responses"]
        assert "i9" not in [item["item_id"] for item in first["items"]]
        assert "i9" in [item["item_id"] for item in second["items"]]


def test_a_later_like_takes_a_dislike_back(http: TestClient) -> None:
    send(http, "sorry", {"item_id": "i7"}, {"item_id": "i9", "type": "dislike"})
    assert "i9" not in ids_for(http, user_id="sorry", exclude_seen=False)
    send(http, "sorry", {"item_id": "i9", "rating": 5, "timestamp": time.time() + 5})
    assert "i9" in ids_for(http, user_id="sorry", exclude_seen=False)


def test_context_only_is_no_history(http: TestClient, server: redis.Redis) -> None:
    before = service_of(http).metrics.document().decode()
    send(http, "looker", {"item_id": "i7", "type": "view"}, {"item_id": "i9", "rating": 3})
    assert ask(http, user_id="looker")["served_by"] == "popular"
    assert server.zcard(keys.events_key("looker")) == 2
    after = service_of(http).metrics.document().decode()
    assert counted(after, "context") == counted(before, "context") + 2


def counted(document: str, kind: str) -> float:
    [line] = re.findall(rf'longtail_event_kinds_total{{kind="{kind}"}} (\S+)', document)
    return float(line)


def test_what_was_only_viewed_comes_back(http: TestClient, catalogue: Catalogue) -> None:
    send(
        http,
        "shopper",
        {"item_id": "i7", "type": "purchase"},
        {"item_id": "i9", "type": "view"},
        {"item_id": "i11"},
    )
    everything = set(catalogue.ids.ids)
    expected = {
        "true": everything - {"i7", "i11"},
        '["purchase"]': everything - {"i7"},
        '["purchase", "view"]': everything - {"i7", "i9"},
        '["interaction"]': everything - {"i11"},
        '["rented"]': everything,
        "false": everything,
    }
    for given, items in expected.items():
        assert set(ids_for(http, user_id="shopper", exclude_seen=json.loads(given))) == items
    # Items of a given history are of no type, as are those of files without such a column.
    assert "i9" in ids_for(http, history=["i9"], exclude_seen=["purchase"])
    stored = [catalogue.ids.id_of(int(index)) for index in catalogue.histories["u5"]]
    assert set(ids_for(http, user_id="u5", exclude_seen=["interaction"])) == everything - {*stored}


@pytest.mark.parametrize("wrong", ["purchase", [], [""], [1], {"purchase": True}])
def test_exclude_seen_is_a_boolean_or_a_list_of_types(http: TestClient, wrong: Any) -> None:
    answer = http.post("/recommend", json={"user_id": "u1", "exclude_seen": wrong})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "exclude_seen"
    assert "list of 1 to 64 types" in answer.json()["detail"]


def test_a_repeat_counts_once_on_another_worker_and_after_a_restart(
    http: TestClient, store: EmbeddedStore, folder: Path, server: redis.Redis
) -> None:
    event = {"item_id": "i7", "event_id": "e1", "timestamp": 1_000}
    send(http, "repeater", event, {**event, "timestamp": 2_000})
    with serving(settings_for(store.url, folder)) as other:
        send(other, "repeater", {**event, "timestamp": 3_000})
        body = {"events": [{"user_id": "repeater", **event, "timestamp": 4_000}] * 3}
        assert other.post("/events", json=body).json()["accepted"] == 3
    assert server.zcard(keys.events_key("repeater")) == 1
    # Another name is another event; of another person, too.
    send(http, "repeater", {**event, "event_id": "e2", "timestamp": 2_000})
    send(http, "another", {**event, "timestamp": 2_000})
    assert server.zcard(keys.events_key("repeater")) == 2
    assert server.zcard(keys.events_key("another")) == 1


def test_a_repeat_counts_once_through_an_outage(
    store: EmbeddedStore, http: TestClient, folder: Path, server: redis.Redis
) -> None:
    with serving(settings_for(store.url, folder, store_timeout_ms=200)) as other:
        event = {"item_id": "i7", "event_id": "e1", "type": "purchase", "value": 9.5}
        send(other, "outage", {**event, "timestamp": 1_000})
        with stopped(store):
            send(other, "outage", {**event, "timestamp": 2_000})
            send(other, "outage", {"item_id": "i8", "event_id": "e2", "timestamp": 3_000})
        wait_for(lambda: server.zcard(keys.events_key("outage")) >= 2)
        members = server.zrange(keys.events_key("outage"), 0, -1)
    events = [decode_arrived(member) for member in members]
    assert [(event.timestamp, event.event_id, event.type) for event in events] == [
        (1_000, "e1", "purchase"),
        (3_000, "e2", "interaction"),
    ]


def test_a_view_and_a_purchase_in_one_second_are_two_events(
    http: TestClient, server: redis.Redis
) -> None:
    bought = {"item_id": "i7", "timestamp": 1_000, "type": "purchase"}
    send(http, "quick", {"item_id": "i7", "timestamp": 1_000}, bought, bought)
    assert server.zcard(keys.events_key("quick")) == 2


def test_the_answer_that_an_event_follows_is_kept(http: TestClient, server: redis.Redis) -> None:
    answer = ask(http, user_id="follower")
    shown = answer["items"][2]
    send(
        http,
        "follower",
        {"item_id": shown["item_id"], "request_id": answer["request_id"], "rank": 3, "value": 2},
    )
    [member] = server.zrange(keys.events_key("follower"), 0, -1)
    event = decode_arrived(member)
    assert (event.request_id, event.rank, event.value) == (answer["request_id"], 3, 2.0)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("type", ""), ("type", "x" * 65), ("event_id", ""), ("value", 1e10), ("rank", 0)],
)
def test_a_wrong_part_of_an_event_is_named(http: TestClient, field: str, wrong: Any) -> None:
    answer = http.post(
        "/events", json={"events": [{"user_id": "w", "item_id": "i1", field: wrong}]}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"events[0].{field}"


EXAMPLE = re.compile(r"```\nPOST (\S+)\n(.*?)```\n(?:\n→ (.*?)\n\n)?", re.DOTALL)
PAGE = (ROOT / "docs/events.md").read_text()


def test_the_rules_of_the_page_are_those_of_the_examples() -> None:
    [recipe] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert EventRules(**tomllib.loads(recipe)["events"]) == RULES
    for name in DISLIKES:
        assert f"`{name}`" in PAGE


def test_examples_of_the_page_work(http: TestClient) -> None:
    """Each example is sent in order; what is claimed of an answer holds."""
    examples = EXAMPLE.findall(PAGE)
    n_claims = 0
    for path, body, claim in examples:
        asked = json.loads(re.sub(r'"item_id": "(\d+)"', r'"item_id": "i\1"', body))
        answer = http.post(path, json=asked | ({"k": 60} if path == "/recommend" else {}))
        assert answer.status_code == 200, f"{body}: {answer.text}"
        for item_id, is_absent in re.findall(r"`(\d+)` is (not )?in the answer", claim):
            found = f"i{item_id}" in [item["item_id"] for item in answer.json()["items"]]
            assert found != bool(is_absent), f"{body}: {claim}"
            n_claims += 1
    assert (len(examples), n_claims) == (9, 11)
