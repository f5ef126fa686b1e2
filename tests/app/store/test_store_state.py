"""Ready, metrics and one log line a change report whether reads and writes work."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from starlette.testclient import TestClient

from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from model_store.registry import Registry
from model_store.store import connect
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.app.deployment.test_lifecycle import activate, version_of, wait_for
from tests.app.store.conftest import ask, ids_for, is_up, kill, send, state_of
from tests.app.store.link import linked, n_commands
from tests.synthetic_bundle import make_bundle, make_catalogue

NOWHERE = ("127.0.0.1", 1)


def become_replica(client: redis.Redis, _folder: Path) -> None:
    client.replicaof(*NOWHERE)


def become_full(client: redis.Redis, _folder: Path) -> None:
    client.config_set("maxmemory", 1)


def lack_replicas(client: redis.Redis, _folder: Path) -> None:
    client.config_set("min-replicas-to-write", 3)


def fail_to_save(client: redis.Redis, folder: Path) -> None:
    client.config_set("save", "3600 1")
    shutil.rmtree(folder)
    client.bgsave()
    wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


@pytest.fixture
def http(own_store: EmbeddedStore, tmp_path: Path) -> Iterator[TestClient]:
    with serving(settings_for(own_store.url, tmp_path)) as http:
        yield http


@pytest.fixture
def client(own_store: EmbeddedStore) -> Iterator[redis.Redis]:
    with connect(own_store.url) as client:
        yield client


def metric(http: TestClient, name: str) -> float:
    [value] = [
        line.split()[1]
        for line in http.get("/metrics").text.splitlines()
        if line.startswith(f"{name} ")
    ]
    return float(value)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelname != "DEBUG"]


@pytest.mark.parametrize(
    ("make", "code", "mend"),
    [
        (become_replica, "READONLY", lambda client: client.replicaof("no", "one")),
        (become_full, "OOM", lambda client: client.config_set("maxmemory", 0)),
        (lack_replicas, "NOREPLICAS", lambda client: client.config_set("min-replicas-to-write", 0)),
        (
            fail_to_save,
            "MISCONF",
            lambda client: client.config_set("save", ""),
        ),
    ],
)
def test_a_store_that_takes_no_writes_is_read_only_with_a_reason(
    http: TestClient,
    client: redis.Redis,
    own_store: EmbeddedStore,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[redis.Redis, Path], None],
    code: str,
    mend: Callable[[redis.Redis], object],
) -> None:
    known = ids_for(http, user_id="u1")
    assert is_up(http)
    caplog.clear()
    make(client, own_store.folder)
    # It is found out without a write that somebody asked for.
    wait_for(lambda: state_of(http) == "read-only")
    ready = http.get("/health/ready").json()
    assert code in ready["store_reason"]
    assert (metric(http, "longtail_store_up"), metric(http, "longtail_store_writable")) == (1, 0)

    assert ask(http, user_id="u1")["degraded"] == []
    assert ids_for(http, user_id="u1") == known
    assert send(http, "w", "i2", "i3") == ["store"]
    assert ids_for(http, user_id="w") == ids_for(http, history=["i2", "i3"])
    time.sleep(0.3)
    [line] = lines(caplog)
    assert code in line
    assert "events go to the journal" in line

    caplog.clear()
    mend(client)
    wait_for(lambda: is_up(http))
    assert metric(http, "longtail_store_writable") == 1
    [line] = lines(caplog)
    assert "reads and writes work again" in line
    wait_for(lambda: client.exists(keys.events_key("w")) == 1)
    assert ids_for(http, user_id="w") == ids_for(http, history=["i2", "i3"])
    assert send(http, "w", "i4") == []


def test_a_replica_that_lost_its_primary_and_answers_nothing_is_away(
    http: TestClient, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    known = ids_for(http, user_id="u1")
    caplog.clear()
    client.config_set("replica-serve-stale-data", "no")
    client.replicaof(*NOWHERE)
    wait_for(lambda: state_of(http) == "away")
    assert "MASTERDOWN" in http.get("/health/ready").json()["store_reason"]
    assert ask(http, user_id="u1")["degraded"] == ["features"]
    assert ids_for(http, user_id="u1") == known  # from memory
    assert metric(http, "longtail_store_up") == 0
    time.sleep(0.3)
    assert len(lines(caplog)) == 1


def test_a_missing_password_is_reported_with_its_setting(
    http: TestClient, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    client.config_set("requirepass", "a-secret")
    client.client_kill_filter(_type="normal", skipme=True)
    wait_for(lambda: state_of(http) == "away")
    time.sleep(0.3)
    [line] = lines(caplog)
    assert "NOAUTH" in line
    assert ask(http, user_id="u1")["degraded"] == ["features"]
    assert send(http, "locked", "i1") == ["store"]
    assert "LONGTAIL_REDIS_PASSWORD" in line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("MOVED 3999 10.0.0.2:6379", "LONGTAIL_REDIS_URL names one node of a cluster"),
        ("LOADING Valkey is loading the dataset in memory", "LOADING"),
        ("NOPERM this user has no permissions to run the 'get' command", "lacks a permission"),
        ("CLUSTERDOWN Hash slot not served", "CLUSTERDOWN"),
        ("ERR unknown command 'GET'", "unknown command"),
    ],
)
def test_a_store_that_rejects_everything_is_away_and_the_reason_is_named(
    own_store: EmbeddedStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    error: str,
    said: str,
) -> None:
    with serving(settings_for(own_store.url, tmp_path)):
        pass  # this version is known to have answered here

    def reply(chunk: bytes) -> bytes:
        pong = b"+PONG\r\n" if b"PING" in chunk and not error.startswith("LOADING") else b""
        return pong + f"-{error}\r\n".encode() * (n_commands(chunk) - bool(pong))

    caplog.clear()
    with linked(reply=reply) as link, serving(settings_for(link.url, tmp_path)) as http:
        wait_for(lambda: state_of(http) == "away")
        assert said in http.get("/health/ready").json()["store_reason"]
        assert ask(http, user_id="u1")["degraded"] == ["features"]
        assert send(http, "m", "i1") == ["store"]
        time.sleep(0.3)
        [line] = [line for line in lines(caplog) if "events go to the journal" in line]
        assert said in line
        assert line.startswith("STARTING WITHOUT THE STORE: ")


def test_a_failover_is_followed(
    own_store: EmbeddedStore,
    tmp_path: Path,
    synthetic_bundle: Bundle,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The old primary stays, as a read-only replica, and the name means another server."""
    second = make_bundle(tmp_path / "made-2", version="made-2", catalogue=make_catalogue(seed=8))
    with (
        EmbeddedStore(tmp_path / "other", fsync="everysec") as other,
        linked(own_store) as link,
        serving(settings_for(link.url, tmp_path)) as http,
        connect(own_store.url) as old,
        connect(other.url) as new,
    ):
        assert version_of(http) == "made-1"
        assert activate(http, "made-1").status_code == 200
        publish_and_activate(synthetic_bundle, tmp_path, other.url)
        publish(second, tmp_path / "bundles", new)
        old.replicaof(*NOWHERE)
        link.store = other
        Registry(new).activate("made-2")
        wait_for(lambda: is_up(http) and version_of(http) == "made-2")
        assert send(http, "f", "i1") == []
        assert new.exists(keys.events_key("f"))
        assert len([line for line in lines(caplog) if "the store" in line]) <= 2
        # So does what operators ask for, over connections that were there before.
        assert activate(http, "made-1").json()["previous"] == "made-2"
        assert Registry(new).active() == "made-1"


def test_versions_are_followed_while_writes_fail(
    http: TestClient, client: redis.Redis, tmp_path: Path
) -> None:
    second = make_bundle(tmp_path / "made-2", version="made-2", catalogue=make_catalogue(seed=8))
    publish(second, tmp_path / "bundles", client)
    client.set("next", "made-2")
    client.config_set("maxmemory", 1)
    wait_for(lambda: state_of(http) == "read-only")
    assert send(http, "v", "i1") == ["store"]
    client.rename("next", keys.ACTIVE)  # needs no memory
    wait_for(lambda: version_of(http) == "made-2")
    assert state_of(http) == "read-only"


def test_a_slow_store_is_followed_and_its_slowness_logged_once(
    own_store: EmbeddedStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Round trips of 120 ms, and requests that wait 50."""
    second = make_bundle(tmp_path / "made-2", version="made-2", catalogue=make_catalogue(seed=8))
    settings = settings_for(own_store.url, tmp_path)
    with linked(own_store, delay_s=0.06) as link:
        settings = settings_for(link.url, tmp_path, store_timeout_ms=50)
        with serving(settings) as http, connect(own_store.url) as client:
            assert ask(http, user_id="u1")["degraded"] == ["features"]
            publish(second, tmp_path / "bundles", client)
            Registry(client).activate("made-2")
            wait_for(lambda: http.get("/health/ready").json()["version"] == "made-2")
            assert send(http, "far", "i2") == ["store"]
            wait_for(lambda: client.exists(keys.events_key("far")) == 1)
            time.sleep(0.5)
            [line] = [line for line in lines(caplog) if "events go to the journal" in line]
            assert "LONGTAIL_STORE_TIMEOUT_MS=50" in line
            link.delay_s = 0.0
            wait_for(lambda: ask(http, user_id="u1")["degraded"] == [])
            assert is_up(http)


@pytest.mark.parametrize(
    "key",
    [
        keys.fresh_key("made-1"),
        keys.vectors_key("made-1"),
        keys.attributes_key("made-1"),
        keys.PREVIOUS,
        keys.MODELS,
    ],
)
def test_a_key_of_another_type_holds_up_nothing_else(
    http: TestClient,
    client: redis.Redis,
    tmp_path: Path,
    key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.rpush(keys.fresh_key("made-1"), "a fresh item")
    second = make_bundle(tmp_path / "made-2", version="made-2", catalogue=make_catalogue(seed=8))
    publish(second, tmp_path / "bundles", client)
    client.set(key, "a string")
    time.sleep(0.3)
    assert len([r for r in caplog.records if "reading fresh items" in r.message]) <= 1
    client.set(keys.ACTIVE, "made-2")
    wait_for(lambda: version_of(http) == "made-2")
    assert is_up(http)
    assert send(http, "u1", "i1") == []
    assert ask(http, user_id="u1")["degraded"] == []
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.alone
def test_a_slow_replay_holds_up_no_acknowledgement(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    with (
        linked(own_store) as link,
        serving(settings_for(link.url, tmp_path, store_timeout_ms=50)) as http,
    ):
        wait_for(lambda: is_up(http))
        link.delay_s = 1.0
        assert send(http, "slow", "i1") == ["store"]
        time.sleep(0.2)  # the replay has begun, and waits for the store
        for item_id in ("i2", "i3"):
            started = time.perf_counter()
            assert send(http, "slow", item_id) == ["store"]
            assert time.perf_counter() - started < 0.8
        assert ids_for(http, user_id="slow") == ids_for(http, history=["i1", "i2", "i3"])
        link.delay_s = 0.0
        with connect(own_store.url) as client:
            wait_for(lambda: client.zcard(keys.events_key("slow")) == 3)


def test_a_long_outage_keeps_as_many_events_of_a_user_as_the_store_would(
    own_store: EmbeddedStore, tmp_path: Path
) -> None:
    with serving(settings_for(own_store.url, tmp_path)) as http:
        kill(own_store)
        for start in (3_000, 2_000, 1_000, 0):  # the newest first
            events = [
                {"user_id": "many", "item_id": f"i{1 + n % 60}", "timestamp": start + n}
                for n in range(1_000)
            ]
            response = http.post("/events", json={"events": events})
            assert response.json()["degraded"] == ["store"]
        newest = [f"i{1 + n % 60}" for n in range(950, 1_000)]
        during = ids_for(http, user_id="many", exclude_seen=False)
        assert during == ids_for(http, history=newest, exclude_seen=False)
        own_store.start()
        with connect(own_store.url) as client:
            key = keys.events_key("many")
            wait_for(lambda: client.zcount(key, 3_000, "+inf") == 1_000)
            wait_for(lambda: not list((tmp_path / "journals").glob("*.jsonl")))
            assert client.zcard(key) == 1_000
        wait_for(lambda: is_up(http))
        assert ids_for(http, user_id="many", exclude_seen=False) == during


@pytest.mark.parametrize("value", [b"\xff\xfe", b"x" * 300, b""])
def test_an_active_version_that_is_none_holds_up_nothing_else(
    http: TestClient,
    client: redis.Redis,
    own_store: EmbeddedStore,
    value: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.set(keys.ACTIVE, value)
    client.rename(keys.MODELS, "elsewhere")
    kill(own_store)
    assert send(http, "j", "i1") == ["store"]
    own_store.start()
    wait_for(lambda: client.exists(keys.events_key("j")) == 1)
    wait_for(lambda: state_of(http) != "away")
    assert version_of(http) == "made-1"
    time.sleep(0.3)
    assert not [record for record in caplog.records if record.exc_info]
