"""Each accepted event reaches the log, with the store or after it was away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from redis import ResponseError
from starlette.testclient import TestClient

from app.store.client import StoreClient
from app.store.connection import Command
from app.store.event_log import EventLog
from model_store import keys
from model_store.codecs import Event
from model_store.embedded import EmbeddedStore
from model_store.errors import StoreAway
from model_store.event_log import log_key_of, log_keys, logged_of
from model_store.exposure_log import LOAD
from model_store.store import connect
from tests.app.conftest import serving, settings_for, wait_for
from tests.app.store.conftest import kill


def post(http: TestClient, *events: dict[str, object]) -> None:
    assert http.post("/events", json={"events": events}).status_code == 200


def logged(client: redis.Redis, user_id: str) -> list[list[Event]]:
    return [events for _, events in logged_of(user_id, client)]


def test_an_entry_has_what_one_user_did_in_one_request(
    own_http: TestClient, client: redis.Redis
) -> None:
    full = {
        "item_id": "i2", "timestamp": 7.5, "type": "purchase", "value": 3.0, "rating": 4.0,
        "event_id": "e", "request_id": "r", "rank": 2,
    }  # fmt: skip
    post(
        own_http,
        {"user_id": "a", "item_id": "i1", "timestamp": 5.0},
        {"user_id": "b", "item_id": "i1", "timestamp": 6.0},
        {"user_id": "a", **full},
    )
    assert logged(client, "a") == [
        [Event("i1", 5.0), Event("i2", 7.5, 4.0, "purchase", 3.0, "e", "r", 2)]
    ]
    assert logged(client, "b") == [[Event("i1", 6.0)]]


def test_events_of_a_journal_follow(own_store: EmbeddedStore, tmp_path: Path) -> None:
    with serving(settings_for(own_store.url, tmp_path)) as http:
        kill(own_store)
        post(http, {"user_id": "a", "item_id": "i1", "timestamp": 5.0})
        own_store.start()
        client = connect(own_store.url)
        wait_for(lambda: logged(client, "a") == [[Event("i1", 5.0)]])
        client.close()


def test_a_log_that_takes_nothing_keeps_events_in_the_journal(
    own_http: TestClient, client: redis.Redis
) -> None:
    client.set(log_key_of("a"), "not a stream")
    answer = own_http.post("/events", json={"events": [{"user_id": "a", "item_id": "i1"}]}).json()
    assert answer["degraded"] == ["store"]
    client.delete(log_key_of("a"))
    post(own_http, {"user_id": "a", "item_id": "i2"})  # which ends the pause
    wait_for(lambda: {"i1", "i2"} == {one.item_id for new in logged(client, "a") for one in new})
    assert client.zcard(keys.events_key("a")) == 2


def test_there_is_no_log_where_none_is_wanted(own_store: EmbeddedStore, tmp_path: Path) -> None:
    settings = settings_for(own_store.url, tmp_path).model_copy(update={"event_log_entries": 0})
    client = connect(own_store.url)
    with serving(settings) as http:
        post(http, {"user_id": "a", "item_id": "i1"})
    assert client.exists(*log_keys()) == 0
    client.close()


def test_the_metrics_tell_how_much_waits(own_http: TestClient, client: redis.Redis) -> None:
    post(own_http, {"user_id": "a", "item_id": "i1"})
    client.xadd(log_key_of("b"), {"u": "b"}, id="1000-0")

    def measured() -> dict[str, float]:
        text = own_http.get("/metrics").text
        found = re.findall(r"^longtail_event_log_(\w+) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    wait_for(lambda: measured()["entries"] == 2)
    assert measured()["oldest_seconds"] > 1e9


def test_a_script_that_some_nodes_lack_is_sent_with_their_commands_alone() -> None:
    """As after a failover in a cluster; a node that is away holds nothing back."""

    class Nodes(StoreClient):
        async def call(
            self, commands: Sequence[Command], limit_s: float | None = None
        ) -> list[Any]:
            assert limit_s is None
            sent.append([command[0] if command is LOAD else command for command in commands])
            if len(sent) == 1:
                return [
                    None,
                    StoreAway("a node is away"),
                    ResponseError("NOSCRIPT no script"),
                    None,
                ]
            return ["sha", None]

        async def probe(self, *_: Command) -> list[Any]:
            return []

        def close(self) -> None:
            pass

    sent: list[list[Any]] = []
    log = EventLog(Nodes())
    commands: list[Any] = ["a", "b", "c", "d"]
    failed = asyncio.run(log.write(commands))
    assert {place: str(error) for place, error in failed.items()} == {1: "a node is away"}
    assert sent == [commands, ["SCRIPT", "c"]]
    assert asyncio.run(log.write([])) == {}
