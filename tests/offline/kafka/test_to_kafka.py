"""Each accepted event reaches the topic, whatever dies, and the archive gets it all the same."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import redis

import longtail
from model_store.codecs import Event, encode_all_arrived
from model_store.event_log import log_command, log_keys
from model_store.exposure_log import (
    LOAD,
    Exploration,
    Exposure,
    exposure_key_of,
    exposure_keys,
    exposures_command,
)
from model_store.people import forget
from offline.kafka import access
from offline.kafka.to_kafka import group_of
from tests.app.running import LONGTAIL
from tests.kafka_broker import Broker, kafka_broker


def send(client: redis.Redis, user_id: str, *events: Event) -> None:
    command = log_command(user_id, encode_all_arrived(events, time.time_ns() // 1_000), 1_000_000)
    client.execute_command(*command)  # type: ignore[no-untyped-call]


def to_kafka(broker: Broker, topic: str, *flags: str) -> int:
    return longtail.main(
        ["events", "to-kafka", "--brokers", broker.address, "--topic", topic, *flags]
    )


def archive(folder: Path) -> list[str]:
    """Items of the archive, after one look."""
    assert longtail.main(["events", "archive", "--out", str(folder), "--once"]) == 0
    if not list(folder.glob("**/*.parquet")):
        return []
    items: list[str] = pl.read_parquet(folder / "**/*.parquet")["item_id"].to_list()
    return sorted(items)


def items_of(broker: Broker, topic: str) -> list[str]:
    return [json.loads(record.value)["item_id"] for record in broker.read(topic)]


def n_left(client: redis.Redis) -> int:
    return sum(client.xlen(key) for key in [*log_keys(), *exposure_keys()])


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


@pytest.mark.usefixtures("at_store")
def test_events_keep_their_fields_and_each_users_order(
    client: redis.Redis, broker: Broker, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    event = Event("ü", 10.25, 4.0, "purchase", 24.9, "e1", "r1", 3)
    send(client, "Zoë", event)
    for number in range(20):
        send(client, f"u{number % 3}", Event(f"i{number}", 10.0), Event(f"j{number}", 10.0))
    assert to_kafka(broker, topic, "--once") == 0
    assert f"sent 41 messages to {topic}\n" in capsys.readouterr().out
    assert n_left(client) == 0
    places: dict[bytes, set[int]] = defaultdict(set)
    sent: dict[str, list[str]] = defaultdict(list)
    for record in broker.read(topic):
        document = json.loads(record.value)
        assert abs(time.time() - record.timestamp / 1e3) < 60
        places[record.key].add(record.partition)
        if document["user_id"] == "Zoë":
            assert document == {
                "user_id": "Zoë",
                "item_id": "ü",
                "timestamp": 10.25,
                "rating": 4.0,
                "type": "purchase",
                "value": 24.9,
                "event_id": "e1",
                "request_id": "r1",
                "rank": 3,
            }
        else:
            sent[document["user_id"]].append(document["item_id"])
    assert all(len(of_user) == 1 for of_user in places.values())
    assert sent["u1"] == [f"{kind}{n}" for n in range(1, 20, 3) for kind in "ij"]


@pytest.mark.usefixtures("at_store")
def test_exposures_go_to_a_topic_of_their_own(
    client: redis.Redis, broker: Broker, topic: str
) -> None:
    drawn = Exploration(0.7, 100, (-0.5, -0.25))
    shown = Exposure("r1", "u1", 10.0, "v1", "b", "model", ("i1", "i2"), drawn)
    client.execute_command(*LOAD)  # type: ignore[no-untyped-call]
    for one in (shown, shown._replace(user_id=None, exploration=None, model="shop")):
        command = exposures_command(exposure_key_of(one.user_id), [tuple(one)], 1_000)
        client.execute_command(*command)  # type: ignore[no-untyped-call]
    assert to_kafka(broker, topic, "--once") == 0
    assert n_left(client) == 2
    assert to_kafka(broker, topic, "--once", "--exposures-topic", f"{topic}-shown") == 0
    assert n_left(client) == 0
    found = {record.key: json.loads(record.value) for record in broker.read(f"{topic}-shown")}
    plain = {
        "request_id": "r1",
        "timestamp": 10.0,
        "version": "v1",
        "arm": "b",
        "served_by": "model",
        "item_ids": ["i1", "i2"],
    }
    more = {"temperature": 0.7, "n_candidates": 100, "log_propensities": [-0.5, -0.25]}
    assert found[b"u1"] == {**plain, "user_id": "u1", "model": "default", **more}
    assert found[None] == {**plain, "model": "shop"}


@pytest.mark.usefixtures("at_store")
def test_neither_the_archive_nor_a_topic_takes_from_the_other(
    client: redis.Redis, broker: Broker, topic: str, tmp_path: Path
) -> None:
    assert archive(tmp_path) == []
    assert to_kafka(broker, topic, "--once") == 0
    send(client, "u1", Event("i1", 10.0))
    assert archive(tmp_path) == ["i1"]
    send(client, "u1", Event("i2", 10.0))
    assert to_kafka(broker, topic, "--once") == 0
    assert n_left(client) == 1
    send(client, "u1", Event("i3", 10.0))
    assert archive(tmp_path) == ["i1", "i2", "i3"]
    assert n_left(client) == 1
    assert to_kafka(broker, topic, "--once") == 0
    assert n_left(client) == 0
    assert items_of(broker, topic) == ["i1", "i2", "i3"]


@pytest.mark.usefixtures("at_store")
def test_nothing_is_kept_for_a_topic_that_was_left(
    client: redis.Redis,
    broker: Broker,
    topic: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--exposures-topic", f"{topic}-shown"]
    assert to_kafka(broker, topic, "--once", *flags) == 0
    send(client, "u1", Event("i1", 10.0))
    archive(tmp_path)
    assert n_left(client) == 1
    capsys.readouterr()
    for line in ("nothing is kept for it any more", "nothing was kept for it"):
        assert longtail.main(["events", "leave-kafka", "--topic", topic, *flags]) == 0
        assert capsys.readouterr().out == f"{line}\n"
    assert n_left(client) == 0


@pytest.mark.usefixtures("at_store")
def test_what_a_forgotten_person_did_is_not_sent(
    client: redis.Redis, broker: Broker, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    send(client, "u1", Event("i1", 10.0))
    forget("u1", client)
    send(client, "u1", Event("i2", 10.0))  # such as of a journal: from before that
    send(client, "u2", Event("i3", 10.0))
    assert to_kafka(broker, topic, "--once") == 0
    assert "sent 1 messages" in (out := capsys.readouterr().out)
    assert "1 of persons who were forgotten" in out
    assert items_of(broker, topic) == ["i3"]


@pytest.mark.usefixtures("at_store")
def test_an_entry_that_is_none_is_kept_in_a_file(
    client: redis.Redis, broker: Broker, topic: str, tmp_path: Path
) -> None:
    client.xadd(log_keys()[0], {"what": "else"})
    send(client, "u1", Event("i1", 10.0))
    assert to_kafka(broker, topic, "--once", "--unreadable", str(tmp_path / "kept")) == 0
    assert json.loads((tmp_path / "kept").read_text())["stream"] == log_keys()[0]
    assert items_of(broker, topic) == ["i1"]
    assert n_left(client) == 0


@pytest.mark.usefixtures("at_store")
def test_a_kill_loses_nothing_in_the_topic_or_the_archive(
    client: redis.Redis, broker: Broker, topic: str, tmp_path: Path
) -> None:
    archive(tmp_path)
    names = [f"i{number}" for number in range(6_000)]
    command = [sys.executable, str(LONGTAIL), "events", "to-kafka", "--brokers", broker.address]
    process = subprocess.Popen([*command, "--topic", topic], stderr=subprocess.DEVNULL)
    try:
        for number, name in enumerate(names[:3_000]):
            send(client, f"u{number % 50}", Event(name, 10.0))
        wait_for(lambda: broker.read(topic), "nothing arrives")
        for number, name in enumerate(names[3_000:]):
            send(client, f"u{number % 50}", Event(name, 10.0))
            if number == 1_500:
                process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    before = items_of(broker, topic)
    assert 0 < len(before) < len(names)
    assert archive(tmp_path) == sorted(names)
    assert to_kafka(broker, topic, "--once") == 0
    assert set(items_of(broker, topic)) == set(names)
    assert n_left(client) == 0


@pytest.mark.usefixtures("at_store")
def test_what_was_read_and_not_confirmed_is_sent_by_the_next(
    client: redis.Redis, broker: Broker, topic: str
) -> None:
    send(client, "u1", Event("i1", 10.0))
    for key in log_keys():
        client.xgroup_create(key, group_of(topic), id="0", mkstream=True)
        client.xreadgroup(group_of(topic), "archive", {key: ">"})
    assert to_kafka(broker, topic, "--once") == 0
    assert items_of(broker, topic) == ["i1"]


@pytest.mark.usefixtures("at_store")
def test_a_broker_that_went_away_is_waited_for_and_gets_what_came_meanwhile(
    client: redis.Redis,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(access, "REQUEST_S", 1.0)
    failures: list[BaseException] = []
    found: list[str] = []
    with kafka_broker() as broker:

        def happen() -> None:
            try:
                send(client, "u1", Event("i1", 10.0))
                wait_for(lambda: n_left(client) == 0, "the first is not sent")
                broker.kill()
                send(client, "u1", Event("i2", 10.0))
                time.sleep(2.5)  # some attempts fail
                assert n_left(client) == 1
                broker.start()  # its memory is empty
                send(client, "u1", Event("i3", 10.0))
                wait_for(lambda: n_left(client) == 0, "the others are not sent")
                found.extend(items_of(broker, topic))
            except BaseException as error:
                failures.append(error)
            finally:
                os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=happen)
        thread.start()
        status = to_kafka(broker, topic)
        thread.join()
    assert failures == []
    assert status == 0
    assert found == ["i2", "i3"]
    captured = capsys.readouterr()
    assert f"{broker.address}: " in captured.err
    assert "; trying again" in captured.err
    assert f"messages to {topic}\n" in captured.out


@pytest.mark.usefixtures("at_store", "client")
def test_a_broker_that_is_not_there_is_one_line(
    topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with kafka_broker() as broker:
        pass
    for flags in ([], ["--once"]):
        assert to_kafka(broker, topic, *flags) == 1
        lines = [one for one in capsys.readouterr().err.splitlines() if "sending" not in one]
        reason = "can't be reached, or lets nobody in without the right --config"
        assert lines == [f"longtail events: Kafka: {broker.address}: {reason}"]


@pytest.mark.usefixtures("at_store", "client")
def test_a_topic_that_cannot_be_made_is_one_line(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import aiokafka
    from aiokafka.errors import UnknownTopicOrPartitionError

    async def unknown(*_: object) -> None:
        raise UnknownTopicOrPartitionError  # Tansu makes every topic

    monkeypatch.setattr(aiokafka.AIOKafkaProducer, "partitions_for", unknown)
    assert to_kafka(broker, topic, "--once") == 1
    line = f"topic {topic!r}: {broker.address} neither has nor makes it; create it\n"
    assert capsys.readouterr().err.endswith(line)


@pytest.mark.usefixtures("at_store")
def test_an_interrupt_ends_it_with_what_was_sent(
    client: redis.Redis, broker: Broker, topic: str
) -> None:
    send(client, "u1", Event("i1", 10.0))
    command = [sys.executable, str(LONGTAIL), "events", "to-kafka", "--brokers", broker.address]
    with subprocess.Popen(
        [*command, "--topic", topic], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        with contextlib.ExitStack() as stack:
            stack.callback(process.send_signal, signal.SIGINT)
            wait_for(lambda: n_left(client) == 0, "it is not sent")
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out == f"sent 1 messages to {topic}\n"
    assert "Traceback" not in err
