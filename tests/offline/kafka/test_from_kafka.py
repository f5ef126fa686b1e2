"""Events of a topic reach a service at least once, and what is none stops nothing."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import longtail
from model_store import keys
from model_store.codecs import decode_arrived
from model_store.store import connect
from tests.app.running import LONGTAIL, serving
from tests.free_ports import free_port
from tests.kafka_broker import Broker
from tests.offline.kafka.stub_service import Stub, items
from tests.offline.kafka.test_to_kafka import to_kafka, wait_for
from tests.synthetic_bundle import make_bundle


def from_kafka(broker: Broker, topic: str, url: str, *flags: str) -> int:
    where = ["--brokers", broker.address, "--topic", topic, "--group", f"g-{topic}"]
    return longtail.main(["events", "from-kafka", *where, "--url", url, *flags])


def event(number: int, **more: Any) -> bytes:
    return json.dumps({"user_id": "u1", "item_id": f"i{number}", "timestamp": 10, **more}).encode()


@contextmanager
def reader(broker: Broker, topic: str, port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    where = ["--brokers", broker.address, "--topic", topic, "--group", f"g-{topic}"]
    letters = ["--dead-letters", str(folder / "letters.jsonl")]
    command = [sys.executable, str(LONGTAIL), "events", "from-kafka", *where, *letters]
    with subprocess.Popen(
        [*command, "--url", f"http://127.0.0.1:{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_a_service_that_comes_later_gets_all_and_what_to_kafka_sent_comes_back(
    broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    bundle = make_bundle(tmp_path / "made-1").folder
    wrong = [b"{", event(4, rating="high"), event(5, source="shop")]
    broker.write(topic, event(1, event_id="e1"), wrong[0], event(2), *wrong[1:], key=b"u1")
    with reader(broker, topic, port, tmp_path) as process:
        assert process.stderr is not None
        lines = []
        while "waiting" not in (line := process.stderr.readline()):
            lines.append(line)
            assert line, lines
        with serving(tmp_path, bundle, "--workers", "1", "--port", str(port)) as running:
            client = connect(running.store_url())

            def stored(user_id: str = "u1") -> list[str]:
                members = client.zrange(keys.events_key(user_id), 0, -1)
                return sorted(decode_arrived(one).item_id for one in members)  # type: ignore[union-attr]

            wait_for(lambda: stored() == ["i1", "i2"], "the events don't arrive")
            letters = tmp_path / "letters.jsonl"
            wait_for(lambda: len(letters.read_text().splitlines()) == 3, "no dead letters")
            # The other way, and back under another group: repeats count once.
            monkeypatch.setenv("LONGTAIL_REDIS_URL", running.store_url())
            assert to_kafka(broker, f"{topic}-back", "--once") == 0
            url = f"http://127.0.0.1:{port}"
            assert from_kafka(broker, f"{topic}-back", url, "--once") == 0
            assert stored() == ["i1", "i2"]
            client.close()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "2 events of" in out
    assert f"3 unreadable in {letters}" in out
    assert "Traceback" not in err
    found = [json.loads(line) for line in letters.read_text().splitlines()]
    assert sorted(base64.b64decode(one["value"]) for one in found) == sorted(wrong)
    assert {one["topic"] for one in found} == {topic}
    reasons = " ".join(one["reason"] for one in found)
    assert "not JSON" in reasons
    assert "rating" in reasons
    assert "source" in reasons


def test_what_is_committed_is_not_read_again_and_the_rest_once_in_order(
    broker: Broker,
    topic: str,
    stub: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broker.write(topic, event(100), key=b"u1")
    broker.commit_all(topic, f"g-{topic}")
    broker.write(topic, *(event(number) for number in range(30)), key=b"u1")
    undated = json.dumps({"user_id": "u2", "item_id": "j"}).encode()
    broker.write(topic, undated, None, key=b"u2")
    letters = ["--dead-letters", str(tmp_path / "letters")]
    assert from_kafka(broker, topic, stub, "--once", *letters) == 0
    assert [one for one in items() if one != "j"] == [f"i{number}" for number in range(30)]
    [dated] = [one for one in Stub.accepted if one["item_id"] == "j"]
    assert abs(dated["timestamp"] - time.time()) < 60  # so that a repeat is noticed
    assert "31 events" in capsys.readouterr().out
    assert json.loads((tmp_path / "letters").read_text())["reason"] == "it has no value"
    assert broker.committed(topic, f"g-{topic}") == 33


def test_a_stop_while_the_service_is_away_commits_nothing(
    broker: Broker, topic: str, stub: str
) -> None:
    broker.write(topic, event(1))
    Stub.answers = [(503, {"Retry-After": "60"}, "")]

    def stop() -> None:
        wait_for(lambda: Stub.asked_s, "nothing is sent")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=stop)
    thread.start()
    assert from_kafka(broker, topic, stub) == 0
    thread.join()
    assert items() == []
    assert broker.committed(topic, f"g-{topic}") == 0


def test_a_topic_that_is_not_there_is_one_line(
    broker: Broker, topic: str, stub: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert from_kafka(broker, topic, stub) == 1
    line = f"longtail events: topic {topic!r}: {broker.address} has none of this name\n"
    assert capsys.readouterr().err == line


def test_dead_letters_that_cannot_be_written_commit_nothing(
    broker: Broker, topic: str, stub: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.write(topic, b"{")
    path = tmp_path / "none" / "letters"
    assert from_kafka(broker, topic, stub, "--once", "--dead-letters", str(path)) == 1
    assert f"--dead-letters {path}: No such file or directory" in capsys.readouterr().err
    assert broker.committed(topic, f"g-{topic}") == 0
