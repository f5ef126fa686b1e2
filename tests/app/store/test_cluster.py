"""A cluster as the store: slots that move, nodes that die; no 5xx, nothing acknowledged is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import redis
from starlette.testclient import TestClient

import longtail
from model_store import keys
from model_store.bundle import Bundle
from model_store.codecs import decode_arrived
from model_store.event_log import log_key_of, logged_of
from model_store.experiment_counts import Scope
from model_store.people import export, forget
from model_store.registry import Registry
from model_store.rerank_codec import CachedAnswer
from model_store.store import connect
from tests.app.conftest import (
    AS_ADMIN,
    PATIENCE_S,
    publish_and_activate,
    service_of,
    serving,
    settings_for,
    wait_for,
)
from tests.app.store.conftest import ask, ids_for, is_up, send, state_of
from tests.free_ports import free_port
from tests.redis_servers import Cluster, Server, Watched, running

BRACES = ["{", "}", "{}", "{a}b", "a}{b", "}{:u:{lt}", "ü{"]


def slot_of(user_id: str) -> int:
    return keys.in_cluster(keys.events_key(user_id))[1]


def users_of(cluster: Cluster, node: Server, n: int) -> list[str]:
    """Ids of users whose keys this node has."""
    [part] = [part for part in range(3) if cluster.primary_of(part * 5_462 + 1) is node]
    ids = (f"p{number}" for number in range(1_000))
    return [one for one in ids if slot_of(one) // 5_462 == part][:n]


@contextmanager
def service(bundle: Bundle, folder: Path, url: str) -> Iterator[TestClient]:
    (folder / "bundles").mkdir(exist_ok=True)
    publish_and_activate(bundle, folder, url)
    with serving(settings_for(url, folder)) as http:
        wait_for(lambda: is_up(http))
        yield http


def answers(server: Server) -> bool:
    try:
        return bool(server.ask("PING"))
    except redis.ConnectionError:
        return False


def items_in(url: str, user_id: str) -> set[str]:
    """The items of a user's events in the store."""
    with connect(url) as client:
        found: Any = client.zrange(keys.events_key(user_id), 0, -1)
    return {decode_arrived(member).item_id for member in found}


def items_logged(url: str, user_id: str) -> set[str]:
    """The items of a user's events that wait to be archived."""
    with connect(url) as client:
        return {event.item_id for _, events in logged_of(user_id, client) for event in events}


async def check_who_is_left_out(service: Any, url: str) -> None:
    """Who was forgotten since the last look is in no counts, and in no answer that is cached."""
    await service.forgetting.look()
    scope = Scope("x")
    for user_id in ("u5", "{"):
        answer = {"user_id": user_id, "model_version": "made-1", "request_id": "r1"}
        service.exposures.note_shown(scope, "a", answer)
    with connect(url) as client:
        forget("u5", client)
    await service.exposures.write(service.forgetting.read_up_to)
    counted = (await service.exposures.read_versions(scope, ["a"])).moments
    assert counted["a", "made-1"].users == 1
    for cited, left in (("u5", None), ("{", "{")):
        cached = CachedAnswer(np.zeros(2, np.float32), cited, int(time.time()))
        limits = {"max_age_s": 60, "max_entries": 9}
        assert await service.store.reranks.write("made-1", cited.encode(), cached, **limits)
        [found] = await service.store.reranks.read("made-1", [cited.encode()], 5.0)
        assert found.similar_user == left
    with connect(url) as client:
        client.unlink(keys.rerank_key("made-1"), keys.rerank_times_key("made-1"))


def test_published_read_and_forgotten_whatever_the_ids(
    redis_cluster: Cluster,
    synthetic_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with service(synthetic_bundle, tmp_path, redis_cluster.url) as http:
        assert ask(http, user_id="u1")["served_by"] == "model"
        batch = {"requests": [{"user_id": f"u{number}", "k": 5} for number in range(1, 12)]}
        answers = http.post("/recommend/batch", json=batch).json()["responses"]
        assert {(one["served_by"], *one["degraded"]) for one in answers} == {("model",)}
        events = [{"user_id": user_id, "item_id": "i1"} for user_id in BRACES]
        assert http.post("/events", json={"events": events}).json()["degraded"] == []
        for user_id in BRACES:
            asked = ask(http, user_id=user_id, exclude_served={"answers": 1}, k=5)
            assert (asked["served_by"], asked["degraded"]) == ("model", [])
            again = ask(http, user_id=user_id, exclude_served={"answers": 1}, k=5)
            found = [{item["item_id"] for item in one["items"]} for one in (asked, again)]
            assert not found[0] & found[1]
        changes = {"items": [{"item_id": "i7", "available": False}]}
        assert http.put("/admin/items", json=changes, headers=AS_ADMIN).status_code == 200
        wait_for(lambda: "i7" not in ids_for(http, history=["i1"]))
        deployment = http.get("/admin/deployment", headers=AS_ADMIN).json()
        assert [one["state"] for one in deployment["workers"]] == ["ready"]
        http.portal.call(check_who_is_left_out, service_of(http), redis_cluster.url)  # type: ignore[union-attr]
    with connect(redis_cluster.url) as client:
        monkeypatch.setenv("LONGTAIL_REDIS_URL", redis_cluster.url)
        archive = ["events", "archive", "--once", "--out", str(tmp_path / "archive")]
        assert longtail.main(archive) == 0
        assert f"{len(BRACES)} events" in capsys.readouterr().out
        for user_id in BRACES:
            known = export(user_id, client, tmp_path / "bundles")
            assert [event["item_id"] for event in known["events"]] == ["i1"]
            assert len(known["served_answers"]) == 2
            assert forget(user_id, client).events == 1
            assert export(user_id, client, tmp_path / "bundles")["events"] == []
        assert export("u1", client, tmp_path / "bundles")["histories"]["made-1"]
        registry = Registry(client)
        # All but the one who was forgotten.
        assert registry.delete_features("made-1") == synthetic_bundle.n_event_users - 1
        assert registry.delete_features("made-1") == 0


def test_recommendations_for_all_of_its_users(
    redis_cluster: Cluster,
    synthetic_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", redis_cluster.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(tmp_path / "bundles"))
    with service(synthetic_bundle, tmp_path, redis_cluster.url) as http:
        for user_id in ("u3", *BRACES):
            assert send(http, user_id, "i1") == []
        with connect(redis_cluster.url) as client:
            forget("u4", client)
        command = ["recommend-all", "--live", "--processes", "1", "--out", str(tmp_path / "out")]
        assert longtail.main(command) == 0
        [file] = (tmp_path / "out").glob("*.parquet")
        found = pl.read_parquet(file)
        users = {f"u{number}" for number in range(1, 13)} - {"u4"} | set(BRACES)
        assert set(found["user_id"]) == users
        for user_id in users:
            rows = found.filter(pl.col("user_id") == user_id)
            assert rows["item_id"].to_list() == ids_for(http, user_id=user_id, k=10)


def test_a_slot_that_moves(
    redis_cluster: Cluster, synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    with service(synthetic_bundle, tmp_path, redis_cluster.url) as http:
        source = redis_cluster.primary_of(slot_of("p"))
        target = next(n for n in redis_cluster.nodes if n.is_primary and n is not source)
        slot, name = slot_of("p"), keys.in_cluster(keys.events_key("p"))[0]
        assert send(http, "p", "i1") == []
        target.ask("CLUSTER SETSLOT", slot, "IMPORTING", redis_cluster.id_of(source))
        source.ask("CLUSTER SETSLOT", slot, "MIGRATING", redis_cluster.id_of(target))
        # The key is still there.
        assert send(http, "p", "i2") == []
        assert ids_for(http, user_id="p") == ids_for(http, history=["i1", "i2"])
        source.ask("MIGRATE", "127.0.0.1", target.port, name, 0, 5_000)
        with pytest.raises(redis.exceptions.AskError):
            source.ask("ZCARD", name)
        assert send(http, "p", "i3") == []
        assert ids_for(http, user_id="p") == ids_for(http, history=["i1", "i2", "i3"])
        with connect(redis_cluster.url) as client:
            assert client.zcard(keys.events_key("p")) == 3
        for node in (target, source):
            node.ask("CLUSTER SETSLOT", slot, "NODE", redis_cluster.id_of(target))
        with pytest.raises(redis.exceptions.MovedError):
            source.ask("ZCARD", name)
        assert send(http, "p", "i4") == []
        assert ids_for(http, user_id="p") == ids_for(http, history=["i1", "i2", "i3", "i4"])
        assert state_of(http) == "up"
        # Back, for the other tests.
        source.ask("CLUSTER SETSLOT", slot, "IMPORTING", redis_cluster.id_of(target))
        target.ask("CLUSTER SETSLOT", slot, "MIGRATING", redis_cluster.id_of(source))
        target.ask("MIGRATE", "127.0.0.1", source.port, name, 0, 5_000)
        for node in (source, target):
            node.ask("CLUSTER SETSLOT", slot, "NODE", redis_cluster.id_of(source))
        assert ids_for(http, user_id="p") == ids_for(http, history=["i1", "i2", "i3", "i4"])


def ask_until_whole(
    http: TestClient, users: dict[str, list[str]], has_taken_over: Callable[[], bool]
) -> None:
    """Send an event and a request of each user alternately, until none is labelled any more."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        is_over = has_taken_over()
        labels = set()
        for user_id, items in users.items():
            item = f"i{len(items) % 50 + 1}"
            labels.update(send(http, user_id, item))
            items.append(item)
            labels.update(ask(http, user_id=user_id)["degraded"])
        assert labels <= {"features", "store"}, labels
        if is_over and not labels:
            return
        assert time.monotonic() < deadline, "it did not recover"


def test_a_primary_dies_under_load(
    redis_cluster: Cluster, synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    victim = redis_cluster.primary_of(8_000)
    replica = next(
        node
        for node in redis_cluster.nodes
        if not node.is_primary and node.client().info("replication")["master_port"] == victim.port
    )
    with service(synthetic_bundle, tmp_path, redis_cluster.url) as http:
        own = users_of(redis_cluster, victim, 3)
        # Of another node, but that their events are logged by this one.
        others = [
            user_id
            for user_id in users_of(redis_cluster, redis_cluster.primary_of(0), 20)
            if redis_cluster.primary_of(keys.in_cluster(log_key_of(user_id))[1]) is victim
        ][:3]
        assert len(others) == 3
        users: dict[str, list[str]] = {user_id: [] for user_id in (*own, *others)}
        for user_id, items in users.items():
            assert send(http, user_id, "i1") == []
            items.append("i1")
        # Acknowledged, and no replica ever hears of it.
        victim.cut_off_replicas()
        for user_id, items in users.items():
            assert send(http, user_id, "i2") == []
            items.append("i2")
        victim.kill()
        ask_until_whole(http, users, lambda: redis_cluster.find_primary(8_000) is replica)
        wait_for(lambda: is_up(http))
        wait_for(lambda: not list((tmp_path / "journals").glob("*.jsonl")))
        for user_id, items in users.items():
            assert ask(http, user_id=user_id)["degraded"] == []
            assert items_in(redis_cluster.url, user_id) == set(items)
            assert items_logged(redis_cluster.url, user_id) == set(items)
            assert not set(items) & set(ids_for(http, user_id=user_id))


def test_a_replica_that_dies_changes_nothing(
    redis_cluster: Cluster, synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    with service(synthetic_bundle, tmp_path, redis_cluster.url) as http:
        next(node for node in redis_cluster.nodes if not node.is_primary).kill()
        for user_id in users_of(redis_cluster, redis_cluster.primary_of(0), 3):
            assert send(http, user_id, "i1") == []
            assert ask(http, user_id=user_id)["degraded"] == []
        assert state_of(http) == "up"


def test_the_server_that_sentinels_name_dies_under_load(
    sentinels: Watched, synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    victim = sentinels.primary
    [replica] = [one for one in sentinels.servers if one is not victim]
    with service(synthetic_bundle, tmp_path, sentinels.url) as http:
        users: dict[str, list[str]] = {f"p{number}": [] for number in range(3)}
        for user_id, items in users.items():
            assert send(http, user_id, "i1") == []
            items.append("i1")
        victim.cut_off_replicas()
        for user_id, items in users.items():
            assert send(http, user_id, "i2") == []
            items.append("i2")
        victim.kill()
        ask_until_whole(http, users, lambda: sentinels.primary is replica)
        wait_for(lambda: is_up(http))
        wait_for(lambda: not list((tmp_path / "journals").glob("*.jsonl")))
        for user_id, items in users.items():
            assert ask(http, user_id=user_id)["degraded"] == []
            assert items_in(sentinels.url, user_id) == set(items)
            assert items_logged(sentinels.url, user_id) == set(items)
        http.put("/admin/rules", json={"rules": []}, headers=AS_ADMIN).raise_for_status()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+cluster://127.0.0.1:{}", "Cluster mode is not enabled"),
        ("redis+sentinel://127.0.0.1:{}/shop", "unknown command 'SENTINEL'"),
        ("redis+cluster://127.0.0.1:1", "Error 111"),
        ("redis+sentinel://127.0.0.1:1/shop", "the Sentinels can't be reached, or know of none"),
    ],
)
def test_another_kind_of_store_than_the_url_says_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str,
    said: str,
) -> None:
    server = Server(tmp_path / "server", free_port(), [])
    with running([server]):
        wait_for(partial(answers, server))
        monkeypatch.setenv("LONGTAIL_REDIS_URL", url.format(server.port))
        assert longtail.main(["models", "list"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
