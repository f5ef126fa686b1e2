"""A person is forgotten: in the store, by workers, in journals, and by what is published later."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from starlette.testclient import TestClient

import longtail
from app.reranking.cache import AnswerCache, JobKey
from app.reranking.job import Answer
from app.store import people
from model_store import keys
from model_store.answer_pairs import AnswerPair, keep_commands
from model_store.bundle import Bundle
from model_store.codecs import decode_user, encode_user
from model_store.embedded import EmbeddedStore
from model_store.forgotten import digest_of_user
from model_store.people import export, forget
from model_store.publication import publish
from model_store.rerank_codec import CachedAnswer, encode_answer
from model_store.store import connect
from tests.app.conftest import (
    AS_ADMIN,
    TOKEN,
    publish_and_activate,
    service_of,
    serving,
    settings_for,
    wait_for,
)
from tests.app.store.conftest import kill
from tests.synthetic_bundle import Catalogue


def ask(http: TestClient, user_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = http.post("/recommend", json={"user_id": user_id}).json()
    return answer


def send(http: TestClient, user_id: str, *item_ids: str, **fields: Any) -> None:
    events = [{"user_id": user_id, "item_id": item_id, **fields} for item_id in item_ids]
    assert http.post("/events", json={"events": events}).status_code == 200


def delete(http: TestClient, user_id: str) -> dict[str, Any]:
    response = http.delete(f"/users/{user_id}", headers=AS_ADMIN)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def keys_of(client: redis.Redis, user_id: str) -> list[bytes]:
    """Keys that name a user; a worker's is random, and may have any three letters up to f."""
    named = [key for key in client.scan_iter() if user_id.encode() in key]
    return [key for key in named if not key.startswith(keys.worker_key("").encode())]


def test_a_forgotten_person_is_a_stranger(own_http: TestClient, client: redis.Redis) -> None:
    send(own_http, "u1", "i5", "i6", type="purchase", value=3)
    other = ask(own_http, "u2")
    assert ask(own_http, "u1")["served_by"] == "model"
    assert delete(own_http, "u1") == {
        "user_id": "u1", "events": 2, "histories": 1, "answers": 0, "counts": 0,
        "events_to_archive": 2, "exposures": 0,
    }  # fmt: skip
    answer = ask(own_http, "u1")
    assert (answer["served_by"], answer["degraded"]) == ("popular", [])
    assert client.exists(keys.events_key("u1"), keys.user_key("made-1", "u1")) == 0
    assert ask(own_http, "u2")["items"] == other["items"]
    assert delete(own_http, "u1")["events"] == 0
    send(own_http, "u1", "i7")
    assert ask(own_http, "u1")["served_by"] == "model"


def test_ids_of_any_kind_are_forgotten(own_http: TestClient, client: redis.Redis) -> None:
    for user_id in ("a/b c", "ü?&#%"):
        send(own_http, user_id, "i5")
        response = own_http.delete(
            "/users/" + "".join(f"%{byte:02X}" for byte in user_id.encode()), headers=AS_ADMIN
        )
        assert response.json()["events"] == 1
        assert keys_of(client, user_id) == []


def test_only_operators_forget_and_the_log_has_no_id(
    own_http: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert own_http.delete("/users/u1").status_code == 401
    assert ask(own_http, "u1")["served_by"] == "model"
    with caplog.at_level(logging.INFO):
        delete(own_http, "somebody-known")
    assert "/users/{user_id}" in caplog.text
    assert "somebody-known" not in "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("app.")
    )
    assert TOKEN not in caplog.text


def test_another_worker_forgets_what_it_remembered(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    with serving(settings_for(own_store.url, tmp_path)) as http:
        assert [ask(http, user)["served_by"] for user in ("u1", "u2")] == ["model"] * 2
        service = service_of(http)
        wait_for(lambda: service.forgetting.read_up_to is not None)
        client = connect(own_store.url)
        forget("u1", client)
        client.close()
        wait_for(lambda: "u1" not in service.store.features.remembered.user_ids)
        assert service.store.features.remembered.user_ids == ["u2"]
        kill(own_store)
        answer = ask(http, "u1")
        assert (answer["served_by"], answer["degraded"]) == ("popular", ["features"])


def test_events_that_waited_in_a_journal_do_not_come_back(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    settings = settings_for(own_store.url, tmp_path)
    with serving(settings) as http:
        send(http, "u1", "i3")
        kill(own_store)
        send(http, "u1", "i5", timestamp=1_000)
        send(http, "u2", "i5", timestamp=1_000)
    [journal] = (tmp_path / "journals").glob("*.jsonl")
    assert "u1" in journal.read_text()
    own_store.start()
    client = connect(own_store.url)
    forget("u1", client)
    with serving(settings) as http:
        wait_for(lambda: not list((tmp_path / "journals").glob("*.jsonl")))
        assert client.zcard(keys.events_key("u2")) == 1
        assert client.zcard(keys.events_key("u1")) == 0
        assert ask(http, "u1")["served_by"] == "popular"
    client.close()


def test_events_that_wait_because_of_a_bad_key_go_too(
    own_http: TestClient, client: redis.Redis, folder: Path
) -> None:
    client.set(keys.events_key("bad"), "x")
    send(own_http, "bad", "i5")
    assert service_of(own_http).journal.user_ids == ["bad"]
    delete(own_http, "bad")
    assert service_of(own_http).journal.user_ids == []
    assert list((folder / "journals").glob("*.jsonl")) == []
    assert keys_of(client, "bad") == []


def test_a_version_published_again_brings_back_what_came_later_only(
    client: redis.Redis, folder: Path, synthetic_bundle: Bundle, store: EmbeddedStore
) -> None:
    publish_and_activate(synthetic_bundle, folder, store.url)
    key = keys.user_key("made-1", "u1")
    history = decode_user(client.get(key))
    forget("u1", client)
    publish(synthetic_bundle, folder / "bundles", client)
    assert client.get(key) is None
    assert client.get(keys.user_key("made-1", "u2")) is not None
    # As if the person had been forgotten in the middle of the history.
    middle = float(history.timestamps[len(history.items) // 2])
    [digest] = client.zrange(keys.FORGOTTEN, 0, -1)
    client.zadd(keys.FORGOTTEN, {digest: middle * 1e6})
    publish(synthetic_bundle, folder / "bundles", client)
    left = decode_user(client.get(key))
    assert 0 < len(left.items) < len(history.items)
    assert (left.timestamps > middle).all()
    assert np.array_equal(left.items, history.items[-len(left.items) :])
    assert encode_user(left) == client.get(key)


def test_kept_answers_and_citations_of_the_person_go(
    client: redis.Redis, good: str, second: str
) -> None:
    for user_id in ("u1", "u2", None):
        pair = AnswerPair(user_id=user_id, n_interactions=1, a=("i1",), b=("i2",), a_ms=1, b_ms=1)
        for command in keep_commands(good, second, [pair]):
            client.execute_command(*command)
    scores = np.zeros(2, dtype=np.float32)
    now = int(time.time())
    for digest, cited in ((b"1", "u1"), (b"2", "u2"), (b"3", None)):
        client.hset(keys.rerank_key(good), digest, encode_answer(CachedAnswer(scores, cited, now)))
        client.zadd(keys.rerank_times_key(good), {digest: now})
    assert forget("u1", client).answers == 2
    assert client.llen(keys.answer_pairs_key(good, second)) == 2
    assert set(client.hkeys(keys.rerank_key(good))) == {b"2", b"3"}
    assert set(client.zrange(keys.rerank_times_key(good), 0, -1)) == {b"2", b"3"}


def test_figures_of_the_person_in_experiments_go(
    own_http: TestClient, client: redis.Redis, tmp_path: Path
) -> None:
    arms = [{"name": "control", "share": 50}, {"name": "other", "share": 50}]
    started = own_http.post("/admin/experiments/try", json={"arms": arms}, headers=AS_ADMIN)
    assert started.status_code == 200, started.text
    wait_for(lambda: "arm" in ask(own_http, "u1"))

    def counted() -> list[str]:
        found: list[str] = export("u1", client, tmp_path)["experiments"]
        return found

    wait_for(lambda: counted() == ["try"])
    assert delete(own_http, "u1")["counts"] == 1
    assert counted() == []


def test_many_who_were_forgotten_are_read_in_parts(
    own_http: TestClient, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "MAX_FOUND", 2)
    service, call = service_of(own_http), own_http.portal.call  # type: ignore[union-attr]
    call(service.forgetting.look)
    users = [f"u{number}" for number in range(1, 6)]
    for user_id in (*users, "u9"):
        ask(own_http, user_id)
    for user_id in users:
        forget(user_id, client)
    call(service.forgetting.look)
    assert service.store.features.remembered.user_ids == ["u9"]
    assert call(service.store.people.everybody) == {digest_of_user(one) for one in users}


def test_memories_forget_the_given_users_alone() -> None:
    cache = AnswerCache(None, max_entries=10, max_age_s=60)  # type: ignore[arg-type]
    scores = np.zeros(2, dtype=np.float32)
    for name in ("u1", "u2"):
        cache.remember(JobKey("v", name.encode(), 2), Answer(scores, name))
    assert cache.user_ids == {"u1", "u2"}
    cache.drop({"u1"})
    assert cache.user_ids == {"u2"}


def test_what_is_kept_of_a_person_is_exported(
    store: EmbeddedStore,
    own_http: TestClient,
    folder: Path,
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    send(own_http, "u1", "i5", type="purchase", value=3, event_id="e1", timestamp=1_700_000_000)
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(folder / "bundles"))
    assert longtail.main(["users", "export", "u1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["events"] == [
        {
            "item_id": "i5",
            "timestamp": 1_700_000_000,
            "type": "purchase",
            "value": 3,
            "event_id": "e1",
        }
    ]
    items = [one["item_id"] for one in found["histories"]["made-1"]]
    assert items == [catalogue.ids.id_of(int(index)) for index in catalogue.histories["u1"]]
    assert longtail.main(["users", "forget", "u1"]) == 0
    assert "forgotten: 1 events, 1 histories of versions" in capsys.readouterr().out
    assert longtail.main(["users", "export", "u1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["events"], found["histories"]) == ([], {})


def test_sessions_have_a_time_to_live(
    store: EmbeddedStore, good: str, client: redis.Redis, folder: Path
) -> None:
    settings = settings_for(store.url, folder, session_prefix="s:", session_ttl_s=100)
    with serving(settings) as http:
        send(http, "s:1", "i5")
        send(http, "u1", "i5")
        assert 90 < client.ttl(keys.events_key("s:1")) <= 100
        assert client.ttl(keys.events_key("u1")) == -1
        client.expire(keys.events_key("s:1"), 10)
        send(http, "s:1", "i6")
        assert 90 < client.ttl(keys.events_key("s:1")) <= 100
        assert ask(http, "s:1")["served_by"] == "model"
        client.expire(keys.events_key("s:1"), 0)
        assert ask(http, "s:1")["served_by"] == "popular"


def test_while_the_store_is_away_nobody_is_forgotten(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    with serving(settings_for(own_store.url, tmp_path)) as http:
        kill(own_store)
        response = http.delete("/users/u1", headers=AS_ADMIN)
        assert response.status_code == 503
        assert "store can't be reached" in response.json()["detail"]
