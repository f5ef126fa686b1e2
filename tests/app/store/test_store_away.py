"""The store goes away and comes back: no 5xx, labelled answers, nothing acknowledged is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from starlette.testclient import TestClient

from model_store import keys
from model_store.embedded import EmbeddedStore
from model_store.registry import Registry
from model_store.store import connect
from tests.app.conftest import AS_ADMIN, serving, settings_for, wait_for
from tests.app.store.conftest import ask, ids_for, is_up, kill, send, stopped


def test_killed_and_restarted(own_store: EmbeddedStore, tmp_path: Path) -> None:
    with serving(settings_for(own_store.url, tmp_path)) as http:
        known = ids_for(http, user_id="u1")
        assert send(http, "before", "i1") == []
        kill(own_store)

        answer = ask(http, user_id="u1")
        assert answer["degraded"] == ["features"]
        assert answer["served_by"] == "model"  # from what was read of this user before
        assert ids_for(http, user_id="u1") == known
        stranger = ask(http, user_id="u2")
        assert (stranger["served_by"], stranger["degraded"]) == ("popular", ["features"])
        assert ask(http, history=["i1"])["degraded"] == []  # nothing was missing

        assert send(http, "during", "i2") == ["store"]
        assert send(http, "during", "i3") == ["store"]
        assert ids_for(http, user_id="during") == ids_for(http, history=["i2", "i3"])
        assert http.get("/health/ready").json()["store"] == "away"
        wait_for(lambda: "longtail_store_up 0.0" in http.get("/metrics").text)
        assert http.post("/admin/models/rollback", headers=AS_ADMIN).status_code == 503

        own_store.start()
        wait_for(lambda: is_up(http))
        wait_for(lambda: not list((tmp_path / "journals").glob("*.jsonl")))
        with connect(own_store.url) as client:
            assert client.zcard(keys.events_key("before")) == 1
            assert client.zcard(keys.events_key("during")) == 2
        for user_id, history in (("before", ["i1"]), ("during", ["i2", "i3"])):
            answer = ask(http, user_id=user_id)
            assert answer["degraded"] == []
            assert ids_for(http, user_id=user_id) == ids_for(http, history=history)
        assert send(http, "after", "i4") == []


def test_rules_go_on_in_a_service_that_starts_without_the_store(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    settings = settings_for(own_store.url, tmp_path)
    hide = {"name": "sold out", "action": "hide", "item_ids": ["i7"]}

    def put(http: TestClient, *rules: dict[str, Any]) -> Response:
        return http.put("/admin/rules", json={"rules": rules}, headers=AS_ADMIN)

    with serving(settings) as http:
        assert put(http, hide).status_code == 200
    kill(own_store)
    with serving(settings) as http:
        assert "i7" not in ids_for(http, history=["i1"])
        assert "i8" in ids_for(http, history=["i1"])
        for answer in (put(http), http.get("/admin/rules", headers=AS_ADMIN)):
            assert answer.status_code == 503
            assert "store" in answer.json()["detail"]
        own_store.start()
        wait_for(lambda: put(http, {**hide, "item_ids": ["i8"]}).status_code == 200)
        wait_for(lambda: "i8" not in ids_for(http, history=["i1"]))
        assert "i7" in ids_for(http, history=["i1"])
        assert put(http).status_code == 200
    # What is remembered are the rules in force: none. A damaged copy is as good as none.
    remembered = tmp_path / "bundles" / "rules.json"
    assert not remembered.exists()
    kill(own_store)
    remembered.write_text('{"rules": [{"action": "explode"}]}')
    with serving(settings) as http:
        assert {"i7", "i8"} <= {*ids_for(http, history=["i1"])}


@pytest.mark.alone
def test_a_hung_store_costs_a_bounded_wait(own_store: EmbeddedStore, tmp_path: Path) -> None:
    settings = settings_for(own_store.url, tmp_path, store_timeout_ms=100)
    with serving(settings) as http:
        ask(http, user_id="u1")
        assert own_store.pid is not None
        os.kill(own_store.pid, signal.SIGSTOP)
        try:
            waits = []
            for _ in range(20):
                started = time.perf_counter()
                assert ask(http, user_id="u1")["degraded"] == ["features"]
                waits.append(time.perf_counter() - started)
            # The first one waits; while the store is known to be away, nearly all others don't.
            assert max(waits) < 0.1 + 0.5
            assert sorted(waits)[10] < 0.05
            assert send(http, "hung", "i2") == ["store"]
        finally:
            os.kill(own_store.pid, signal.SIGCONT)
        wait_for(lambda: ask(http, user_id="u1")["degraded"] == [])
        wait_for(lambda: not list((tmp_path / "journals").glob("*.jsonl")))
        assert ids_for(http, user_id="hung") == ids_for(http, history=["i2"])


def test_a_deadline_shorter_than_the_timeout_bounds_the_wait(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    with serving(settings_for(own_store.url, tmp_path)) as http:  # a timeout of 5 s
        assert own_store.pid is not None
        os.kill(own_store.pid, signal.SIGSTOP)
        try:
            started = time.perf_counter()
            answer = ask(http, user_id="u1", deadline_ms=30)
            assert time.perf_counter() - started < 1
            assert answer["degraded"] == ["features"]
        finally:
            os.kill(own_store.pid, signal.SIGCONT)
        # It was this caller's impatience: for others the store never counted as away.
        assert ask(http, user_id="u1")["degraded"] == []


def test_a_deadline_longer_than_the_timeout_lengthens_nothing(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    with serving(settings_for(own_store.url, tmp_path, store_timeout_ms=50)) as http:
        with stopped(own_store):
            started = time.perf_counter()
            answer = ask(http, user_id="u1", deadline_ms=5_000)
            assert time.perf_counter() - started < 2.5
        assert answer["degraded"] == ["features"]


def test_each_entry_of_a_batch_has_its_own_deadline(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    requests = [
        {"user_id": "u1", "deadline_ms": 20},
        {"user_id": "u2"},
        {"user_id": "u3", "deadline_ms": 10_000},
    ]
    with serving(settings_for(own_store.url, tmp_path)) as http:  # a timeout of 5 s
        with stopped(own_store, for_s=0.3):
            response = http.post("/recommend/batch", json={"requests": requests})
        answers = response.json()["responses"]
        assert [answer["degraded"] for answer in answers] == [["features"], [], []]
        assert [answer["served_by"] for answer in answers] == ["popular", "model", "model"]


def test_starting_without_the_store_serves_the_last_active_version(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    settings = settings_for(own_store.url, tmp_path)
    with serving(settings):
        pass
    kill(own_store)
    with serving(settings) as http:
        ready = http.get("/health/ready").json()
        assert (ready["version"], ready["store"]) == ("made-1", "away")
        assert ask(http, user_id="u1")["degraded"] == ["features"]
        assert ask(http, history=["i1"])["served_by"] == "model"
        own_store.start()
        wait_for(lambda: ask(http, user_id="u1")["degraded"] == [])


def test_a_journal_left_behind_is_replayed_at_the_next_start(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    settings = settings_for(own_store.url, tmp_path)
    with serving(settings) as http:
        kill(own_store)
        send(http, "left", "i2")
        send(http, "left", "i5")
    [journal] = (tmp_path / "journals").glob("*.jsonl")
    with journal.open("ab") as file:
        file.write(b'["left", "i6", 17')  # a kill in the middle of a line, so not acknowledged
    own_store.start()
    with serving(settings) as http:
        assert ids_for(http, user_id="left") == ids_for(http, history=["i2", "i5"])
        assert not journal.exists()


def test_a_journal_that_cannot_be_written_is_not_acknowledged(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    with serving(settings_for(own_store.url, tmp_path)) as http:
        kill(own_store)
        journals = tmp_path / "journals"
        journals.rmdir()
        journals.write_text("in the way")
        response = http.post("/events", json={"user_id": "a", "item_id": "i1"})
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert ask(http, user_id="a")["served_by"] == "popular"


def test_an_unreadable_value_in_the_store_degrades_one_user_only(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    with serving(settings_for(own_store.url, tmp_path)) as http:
        with connect(own_store.url) as client:
            client.set(keys.user_key("made-1", "u1"), b"garbage")
            client.set(keys.events_key("u2"), b"a string, not a list")
        body = {"requests": [{"user_id": "u1"}, {"user_id": "u3"}]}
        damaged, sound = http.post("/recommend/batch", json=body).json()["responses"]
        assert damaged["degraded"] == ["features"]
        assert sound["served_by"] == "model"
        answer = ask(http, user_id="u2")
        assert (answer["served_by"], answer["degraded"]) == ("popular", ["features"])
        assert Registry(connect(own_store.url)).active() == "made-1"
