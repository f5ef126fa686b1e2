"""One user's trouble is that user's: keys of another type, damaged values, lists of version 0.1."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from starlette.testclient import TestClient

from app.store.journal import MANY_LINES
from model_store import keys
from model_store.bundle import Bundle
from model_store.codecs import Event, UserHistory, encode_event, encode_user
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from model_store.registry import Registry
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.app.deployment.test_lifecycle import version_of, wait_for
from tests.app.store.conftest import ask, ids_for, is_up, send, state_of
from tests.synthetic_bundle import make_bundle, make_catalogue


@pytest.fixture
def http(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path
) -> Iterator[TestClient]:
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


def journals(folder: Path) -> list[Path]:
    return list((folder / "journals").glob("*.jsonl"))


def set_string(client: redis.Redis, key: str) -> None:
    client.set(key, "x")


def set_hash(client: redis.Redis, key: str) -> None:
    client.hset(key, "a", "b")


@pytest.mark.parametrize("spoil", [set_string, set_hash])
def test_a_users_key_of_another_type_is_that_users_trouble(
    http: TestClient,
    client: redis.Redis,
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: object,
) -> None:
    events = [{"user_id": "good", "item_id": f"i{1 + n % 60}", "timestamp": n} for n in range(900)]
    assert http.post("/events", json={"events": events}).json()["degraded"] == []
    assert callable(spoil)
    spoil(client, keys.events_key("u9"))
    caplog.clear()
    more = [{"user_id": "good", "item_id": "i7", "timestamp": 2_000 + n} for n in range(20)]
    body = {"events": [*more, {"user_id": "u9", "item_id": "i3"}]}
    answer = http.post("/events", json=body).json()
    assert (answer["accepted"], answer["degraded"]) == (21, ["store"])
    assert client.zcard(keys.events_key("good")) == 920
    [journal] = journals(folder)
    assert b"good" not in journal.read_bytes()
    assert is_up(http)  # the store is well

    # Nothing else waits for that user: versions are followed, and other events are replayed.
    second = make_bundle(tmp_path / "made-2", version="made-2", catalogue=make_catalogue(seed=8))
    publish(second, folder / "bundles", client)
    Registry(client).activate("made-2")
    wait_for(lambda: version_of(http) == "made-2")
    time.sleep(0.5)
    assert client.zcard(keys.events_key("good")) == 920
    answer = ask(http, user_id="u9", exclude_seen=False)
    assert answer["degraded"] == ["features"]
    assert [r.message for r in caplog.records if "'u9'" in r.message and "events of" in r.message][
        1:
    ] == []
    # The event is there for this process, and for all once the key is mended.
    assert send(http, "u9", "i4") == ["store"]
    client.delete(keys.events_key("u9"))
    assert send(http, "u9", "i5") == []
    wait_for(lambda: client.zcard(keys.events_key("u9")) == 3)
    wait_for(lambda: not journals(folder))
    assert ask(http, user_id="u9")["degraded"] == []


def test_replay_of_a_users_refused_events_pauses_longer_each_time(
    http: TestClient, client: redis.Redis, folder: Path
) -> None:
    client.set(keys.events_key("u9"), "x")
    send(http, "u9", "i3")

    def n_appends() -> int:
        return int(client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])

    before = n_appends()
    time.sleep(1.6)  # thirty rounds of the replay
    assert n_appends() - before <= 2
    assert journals(folder)


def test_a_user_in_trouble_fills_no_disk(
    http: TestClient, client: redis.Redis, folder: Path
) -> None:
    client.set(keys.events_key("u9"), "x")
    for start in range(0, 9_000, 1_000):
        events = [
            {"user_id": "u9", "item_id": f"i{1 + n % 60}", "timestamp": start + n}
            for n in range(1_000)
        ]
        assert http.post("/events", json={"events": events}).json()["degraded"] == ["store"]

    def n_lines() -> int:
        return sum(path.read_bytes().count(b"\n") for path in journals(folder))

    wait_for(lambda: n_lines() <= MANY_LINES)
    client.delete(keys.events_key("u9"))
    assert send(http, "u9", "i1") == []
    wait_for(lambda: client.zcard(keys.events_key("u9")) == 1_000)
    assert client.zcount(keys.events_key("u9"), 8_001, "+inf") == 1_000
    wait_for(lambda: not journals(folder))


def test_what_a_dead_process_left_is_replayed_but_for_the_refused(
    http: TestClient, client: redis.Redis, folder: Path
) -> None:
    client.set(keys.events_key("u9"), "x")
    left = folder / "journals" / "journal-1-dead.jsonl"
    left.write_text(
        '["u9", "i1", 5, null]\n["a", "i2", 6, 1e39]\n["a", "i3", 7, 4.5]\n["a", "i3", 7.5, 4.5]\n'
    )
    wait_for(lambda: client.zcard(keys.events_key("a")) == 2)
    wait_for(lambda: not left.exists())
    [journal] = journals(folder)
    assert journal.read_bytes().count(b"\n") == 1
    assert ids_for(http, user_id="a") == ids_for(http, history=["i2", "i3"])


OUT_OF_RANGE = [(0,), (-1,), (61,), (2**31 - 1,), (3, 61)]


@pytest.mark.parametrize("items", OUT_OF_RANGE)
def test_an_item_index_out_of_range_is_a_labelled_answer(
    http: TestClient, client: redis.Redis, items: tuple[int, ...]
) -> None:
    known = ids_for(http, user_id="u1")
    times = np.arange(len(items), dtype=np.float64)
    blob = encode_user(UserHistory(np.array(items, dtype=np.int32), times))
    client.set(keys.user_key("made-1", "u1"), blob)
    client.set(keys.user_key("made-1", "new"), blob)
    answer = ask(http, user_id="new", explain=True)
    assert (answer["served_by"], answer["degraded"]) == ("popular", ["features"])
    assert len(answer["items"]) == 60
    assert ask(http, user_id="u1")["degraded"] == ["features"]
    assert ids_for(http, user_id="u1") == known  # what was read before
    send(http, "new", "i4")
    answer = ask(http, user_id="new")
    assert (answer["served_by"], answer["degraded"]) == ("model", ["features"])


@pytest.mark.parametrize("times", [(2.0, 1.0), (1.0, float("nan"), 2.0), (float("inf"), 1.0)])
def test_times_out_of_order_are_a_labelled_answer(
    http: TestClient, client: redis.Redis, times: tuple[float, ...]
) -> None:
    items = np.arange(1, len(times) + 1, dtype=np.int32)
    blob = encode_user(UserHistory(items, np.array(times)))
    client.set(keys.user_key("made-1", "new"), blob)
    ask(http, user_id="new")  # no time matters so far
    send(http, "new", "i9")
    answer = ask(http, user_id="new")
    assert (answer["served_by"], answer["degraded"]) == ("model", ["features"])


@pytest.mark.parametrize("member", [b"", b"short", b"\0" * 8 + b"E9" + b"\0" * 20, b"\xff" * 40])
def test_damaged_events_are_a_labelled_answer_and_logged_once(
    http: TestClient, client: redis.Redis, member: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client.zadd(keys.events_key("u2"), {member: 1.0})
    caplog.clear()
    for _ in range(3):
        assert ask(http, user_id="u2")["degraded"] == ["features"]
    assert sum("'u2'" in record.message for record in caplog.records) == 1
    assert send(http, "u2", "i1") == []


@pytest.mark.parametrize("spoiled", ["events", "features"])
def test_an_unreadable_user_of_a_batch_harms_no_other(
    http: TestClient, client: redis.Redis, spoiled: str
) -> None:
    key = keys.events_key("u2") if spoiled == "events" else keys.user_key("made-1", "u2")
    client.delete(key)
    client.lpush(key, "garbage") if spoiled == "features" else client.set(key, "x")
    body = {"requests": [{"user_id": user} for user in ("u1", "u2", "u3")]}
    answers = http.post("/recommend/batch", json=body).json()["responses"]
    assert [answer["degraded"] for answer in answers] == [[], ["features"], []]
    assert state_of(http) == "up"


def as_list(client: redis.Redis, user_id: str, *events: Event) -> str:
    key = keys.events_key(user_id)
    client.rpush(key, *map(encode_event, events))
    return key


OLD = (Event("i5", 100.0), Event("i9", 100.0), Event("i5", 100.5, 3.0), Event("i2", 50.25, 4.0))


def test_a_list_of_version_0_1_is_read_and_converted(http: TestClient, client: redis.Redis) -> None:
    key = as_list(client, "old", *OLD)
    client.rpush(key, b"garbage", b"")
    answer = ask(http, user_id="old")
    assert answer["degraded"] == []
    assert ids_for(http, user_id="old") == ids_for(http, history=["i2", "i5", "i9"])
    assert client.type(key) == b"zset"
    assert client.zcard(key) == 3


def test_lists_of_a_batch_are_converted_together(http: TestClient, client: redis.Redis) -> None:
    users = [f"old{n}" for n in range(30)]
    for user_id in users:
        as_list(client, user_id, *OLD)
    client.set(keys.events_key("broken"), "x")
    requests = [{"user_id": user_id} for user_id in (*users, "broken", "u1")]
    answers = http.post("/recommend/batch", json={"requests": requests}).json()["responses"]
    degraded = [answer["degraded"] for answer in answers]
    assert degraded == [*([] for _ in users), ["features"], []]
    assert all(client.type(keys.events_key(user_id)) == b"zset" for user_id in users)


def test_a_list_of_version_0_1_is_appended_to(http: TestClient, client: redis.Redis) -> None:
    key = as_list(client, "old", *OLD)
    event = {"user_id": "old", "item_id": "i7", "timestamp": 100}
    assert http.post("/events", json=event).json()["degraded"] == []
    assert client.zcard(key) == 4
    assert ids_for(http, user_id="old") == ids_for(http, history=["i2", "i5", "i9", "i7"])


def test_a_full_store_loses_no_list_of_version_0_1(http: TestClient, client: redis.Redis) -> None:
    key = as_list(client, "old", *OLD)
    client.config_set("maxmemory", 1)
    try:
        assert ask(http, user_id="old")["degraded"] == ["features"]
        assert send(http, "old", "i7") == ["store"]
        assert client.llen(key) == len(OLD)
    finally:
        client.config_set("maxmemory", 0)


def test_a_thousand_events_of_one_second_hold_up_nobody(
    http: TestClient, client: redis.Redis
) -> None:
    events = [{"user_id": "fast", "item_id": f"i{n}", "timestamp": 100} for n in range(1_000)]
    http.post("/events", json={"events": events})
    slowest_us = 20_000
    client.config_set("slowlog-log-slower-than", slowest_us)
    try:
        client.slowlog_reset()
        for _ in range(3):
            http.post("/events", json={"events": events})
        assert len(client.slowlog_get()) < 3  # the machine may have paused once
    finally:
        client.config_set("slowlog-log-slower-than", 10_000)
    assert client.zcard(keys.events_key("fast")) == 1_000
