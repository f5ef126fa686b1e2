"""Events leave the store's log once they are archived, and none is lost by a kill in between."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import redis

import longtail
from model_store import keys
from model_store.codecs import Event, encode_all_arrived
from model_store.embedded import EmbeddedStore
from model_store.event_log import (
    GROUP,
    Command,
    forget_logged,
    log_command,
    log_key_of,
    log_keys,
    logged_of,
    look_commands,
    read_look,
)
from model_store.people import export, forget
from offline.event_archive import archiver
from offline.event_archive.archive import EventArchive
from offline.event_archive.archiver import Moved, events_into, move


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[EventArchive]:
    archive = EventArchive(tmp_path / "events")
    with archive.locked():
        yield archive


def send(
    client: redis.Redis,
    user_id: str,
    *events: Event,
    limit: int = 1_000_000,
    arrived_us: int = 1_000_000,
) -> None:
    run(client, log_command(user_id, encode_all_arrived(events, arrived_us), limit))


def run(client: redis.Redis, command: Command) -> object:
    return client.execute_command(*command)  # type: ignore[no-untyped-call]


def items_of(archive: EventArchive) -> list[str]:
    found: list[str] = pl.read_parquet(archive.folder / "**/*.parquet")["item_id"].to_list()
    return sorted(found)


def n_left(client: redis.Redis) -> int:
    return sum(client.xlen(key) for key in log_keys())


def test_events_move_and_a_repeat_is_counted(client: redis.Redis, archive: EventArchive) -> None:
    for number in range(30):
        send(client, f"u{number}", Event(f"i{number}", 10.0), Event("i", 10.0))
    send(client, "u3", Event("i3", 10.4))
    assert move(client, events_into(archive)) == Moved(n_new=60, n_repeats=1)
    assert n_left(client) == 0
    assert move(client, events_into(archive)) == Moved()
    assert items_of(archive) == sorted([*(f"i{number}" for number in range(30)), *["i"] * 30])


def test_the_log_is_read_in_parts(
    client: redis.Redis, archive: EventArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "ENTRIES_AT_ONCE", 2)
    for number in range(9):
        send(client, "u1", Event(f"i{number}", 10.0))
    seen: list[int] = []
    assert move(client, events_into(archive), seen.append) == Moved(n_new=9)
    assert max(seen) == 2
    assert n_left(client) == 0


def test_a_kill_between_disk_and_store_loses_and_doubles_nothing(
    client: redis.Redis, archive: EventArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, "u1", Event("i1", 10.0), Event("i2", 10.0))
    with monkeypatch.context() as killed:

        def kill(*_: object) -> None:
            raise KeyboardInterrupt

        killed.setattr(archiver, "acknowledge", kill)
        with pytest.raises(KeyboardInterrupt):
            move(client, events_into(archive))
    assert n_left(client) == 1
    send(client, "u1", Event("i3", 10.0))
    assert move(client, events_into(archive)) == Moved(n_new=1, n_repeats=2)
    assert items_of(archive) == ["i1", "i2", "i3"]
    assert n_left(client) == 0


def test_a_kill_before_the_disk_loses_nothing(client: redis.Redis, archive: EventArchive) -> None:
    send(client, "u1", Event("i1", 10.0))
    client.xgroup_create(log_key_of("u1"), GROUP, id="0")
    client.xreadgroup(GROUP, "archive", {log_key_of("u1"): ">"})
    assert move(client, events_into(archive)) == Moved(n_new=1)


def test_an_entry_that_is_none_is_kept_apart(
    client: redis.Redis, archive: EventArchive, caplog: pytest.LogCaptureFixture
) -> None:
    client.xadd(log_keys()[0], {"u": "u1", "0": b"\xff\x00"})
    client.xadd(log_keys()[0], {"what": "else"})
    for no_time in (-1.0, 2e11):  # of no day that a folder could be named after
        send(client, "u1", Event("i1", no_time))
    send(client, "u1", Event("i1", 10.0))
    assert move(client, events_into(archive)) == Moved(n_new=1, n_unreadable=4)
    lines = (archive.folder / archiver.UNREADABLE).read_text().splitlines()
    fields = [json.loads(line)["fields"] for line in lines]
    assert base64.b64decode(fields[0][b"0".hex()]) == b"\xff\x00"
    assert base64.b64decode(fields[1][b"what".hex()]) == b"else"
    assert "unreadable.jsonl" in caplog.text
    assert n_left(client) == 0


def test_a_forgotten_person_is_out_of_the_log_and_the_archive(
    client: redis.Redis, archive: EventArchive, tmp_path: Path
) -> None:
    send(client, "u1", Event("i1", 10.0))
    send(client, "u2", Event("i2", 10.0))
    move(client, events_into(archive))
    send(client, "u1", Event("i3", 11.0, event_id="e"))
    [event] = export("u1", client, tmp_path)["events_to_archive"]
    assert (event["item_id"], event["event_id"]) == ("i3", "e")
    assert forget("u1", client).events_to_archive == 1
    assert list(logged_of("u1", client)) == []
    send(client, "u1", Event("i4", 12.0))  # such as of a journal: from before that
    send(client, "u1", Event("i6", 5e9))  # by a clock that was ahead
    send(client, "u1", Event("i5", 5e9), arrived_us=5_000_000_000_000_000)
    assert move(client, events_into(archive)) == Moved(n_new=1, n_forgotten=3)
    assert items_of(archive) == ["i2", "i5"]


def test_an_entry_removed_while_it_is_read_is_no_fault(
    client: redis.Redis, archive: EventArchive
) -> None:
    send(client, "u1", Event("i1", 10.0))
    key = log_key_of("u1")
    client.xgroup_create(key, GROUP, id="0")
    client.xreadgroup(GROUP, "archive", {key: ">"})
    assert forget_logged("u1", client) == 1
    assert move(client, events_into(archive)) == Moved()
    assert client.xpending(key, GROUP)["pending"] == 0


def test_the_oldest_entries_go_beyond_the_limit(client: redis.Redis) -> None:
    for number in range(3_000):
        send(client, "u1", Event(f"i{number}", 10.0), limit=8_000)
    entries = list(logged_of("u1", client))
    # Whole nodes of the stream are removed, so that there are somewhat more.
    assert 1_000 <= len(entries) < 1_200
    assert entries[-1][1][0].item_id == "i2999"


def test_the_look_tells_how_much_waits_and_since_when(client: redis.Redis) -> None:
    def look() -> tuple[int, float]:
        return read_look([run(client, command) for command in look_commands()])

    assert look() == (0, 0.0)
    send(client, "u1", Event("i1", 10.0))
    client.xadd(log_key_of("u2"), {"u": "u2"})
    n, oldest_s = look()
    assert n == 2
    assert 0 <= oldest_s < 30


def test_the_command_archives_once(
    client: redis.Redis,
    store: EmbeddedStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", str(store.url))
    send(client, "u1", Event("i1", 10.0))
    out = tmp_path / "out"
    assert longtail.main(["events", "archive", "--out", str(out), "--once"]) == 0
    assert capsys.readouterr().out == f"archived 1 events in {out}\n"
    with EventArchive(out).locked():
        assert longtail.main(["events", "archive", "--out", str(out), "--once"]) == 1
    assert capsys.readouterr().err.endswith("another archiver is at work on it\n")


@pytest.mark.parametrize("text", ["", "5", "0s", "1d", "-1s", "1.5m"])
def test_a_pause_that_is_none_is_rejected(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        longtail.main(["events", "archive", "--out", "x", f"--every={text}"])
    assert f"{text!r} is no time such as 30s, 5m or 2h" in capsys.readouterr().err


def test_the_key_is_listed() -> None:
    assert log_keys()[0] == keys.event_log_key(0) == "lt:log:0"
