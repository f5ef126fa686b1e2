"""Exposures move into an archive of their own, each once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import redis

import longtail
from model_store.embedded import EmbeddedStore
from model_store.exposure_log import (
    LOAD,
    Exploration,
    Exposure,
    exposure_key_of,
    exposures_command,
)
from model_store.forgotten import digest_of_user
from offline.event_archive import archiver
from offline.event_archive.archiver import Moved, exposures_into, move
from offline.event_archive.exposure_archive import SCHEMA, ExposureArchive, scan_exposures


def shown(user_id: str | None, request_id: str = "r1", at_s: float = 10.0) -> Exposure:
    return Exposure(request_id, user_id, at_s, "v1", "b", "model", ("i1", "i2"))


def send(client: redis.Redis, *exposures: Exposure) -> None:
    client.execute_command(*LOAD)  # type: ignore[no-untyped-call]
    for one in exposures:
        command = exposures_command(exposure_key_of(one.user_id), [tuple(one)], 1_000)
        client.execute_command(*command)  # type: ignore[no-untyped-call]


def rows(archive: ExposureArchive) -> pl.DataFrame:
    return pl.read_parquet(archive.folder / "**/*.parquet")


def test_they_move_once_with_their_ranks(client: redis.Redis, tmp_path: Path) -> None:
    archive = ExposureArchive(tmp_path / "shown")
    with archive.locked():
        send(client, shown("u1"), shown("u1"), shown(None), shown("u2", at_s=86_401.0))
        assert move(client, exposures_into(archive)) == Moved(n_new=3, n_repeats=1)
        send(client, shown("u1"), shown("u1", "r2"))
        assert move(client, exposures_into(archive)) == Moved(n_new=1, n_repeats=1)
    found = rows(archive).sort("timestamp", "request_id", "user_id", nulls_last=True)
    assert dict(found.schema) == SCHEMA
    plain = ("r1", "u1", 10.0, "v1", "b", "model", "default", ["i1", "i2"], None, None, None)
    assert found.row(0) == plain
    assert found["user_id"].to_list() == ["u1", None, "u1", "u2"]
    days = {path.parent.name for path in archive.files()}
    assert days == {"day=1970-01-01", "day=1970-01-02"}


def test_answers_of_one_entry_move_one_by_one(
    client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "SHOWN_AT_ONCE", 2)
    archive = ExposureArchive(tmp_path / "shown")
    key = exposure_key_of("u1")
    client.execute_command(*LOAD)  # type: ignore[no-untyped-call]
    for number in range(5):
        answers = [tuple(shown("u1", f"r{number}-{n}")) for n in range(30)]
        client.execute_command(*exposures_command(key, answers, 1_000))  # type: ignore
    client.xadd(key, {"u": "u1", "a": '["old",10.0,"v1","b","model",["i1"]]'})
    client.xadd(key, {"b": "[[1]]"})
    seen: list[int] = []
    with archive.locked():
        moved = move(client, exposures_into(archive), seen.append)
    assert moved == Moved(n_new=151, n_unreadable=1)
    assert max(seen) == 60
    assert client.xlen(key) == 0
    assert rows(archive)["request_id"].n_unique() == 151


def test_propensities_move_exactly_and_a_repeat_is_noticed(
    client: redis.Redis, tmp_path: Path
) -> None:
    archive = ExposureArchive(tmp_path / "shown")
    drawn = shown("u1")._replace(exploration=Exploration(0.7, 100, (-1 / 3, -1e-9)))
    with archive.locked():
        send(client, drawn, shown("u2"))
        assert move(client, exposures_into(archive)) == Moved(n_new=2)
        send(client, drawn)
        assert move(client, exposures_into(archive)) == Moved(n_repeats=1)
    row = rows(archive).filter(user_id="u1").row(0)
    assert row[-3:] == (0.7, 100, [-1 / 3, -1e-9])


def test_files_of_earlier_releases_are_read_along(tmp_path: Path) -> None:
    archive = ExposureArchive(tmp_path / "shown")
    with archive.locked():
        archive.add([shown("u1")])
        [path] = archive.files()
        earlier = ("temperature", "n_candidates", "log_propensities", "model")
        rows(archive).drop(earlier).write_parquet(path)
        assert archive.add([shown("u1"), shown("u2")._replace(model="films")]) == 1
    found = scan_exposures(archive.files()).collect()
    assert found["log_propensities"].to_list() == [None, None]
    assert dict(found.select("user_id", "model").iter_rows()) == {"u1": "default", "u2": "films"}
    assert sorted(found["user_id"].to_list()) == ["u1", "u2"]


def test_a_forgotten_person_is_removed_and_others_stay(tmp_path: Path) -> None:
    archive = ExposureArchive(tmp_path / "shown")
    with archive.locked():
        archive.add([shown("u1"), shown("u2"), shown(None), shown("u1", "r2", 30.0)])
        assert archive.forget({digest_of_user("u1"): 20.0}) == 1
    assert sorted(map(str, rows(archive)["user_id"].to_list())) == ["None", "u1", "u2"]


def test_the_command_archives_both(
    client: redis.Redis,
    store: EmbeddedStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", str(store.url))
    send(client, shown("u1"))
    out, others = tmp_path / "out", tmp_path / "shown"
    command = ["events", "archive", "--once", "--out", str(out), "--exposures"]
    assert longtail.main([*command, str(others)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"archived 0 events in {out}", f"archived 1 exposures in {others}"]
    for inside in (out, out / "shown"):
        assert longtail.main([*command, str(inside)]) == 1
        assert f"--exposures {inside}: lies in --out {out}" in capsys.readouterr().err
