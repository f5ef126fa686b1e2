"""The archive holds each event once, by day, whatever was there before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from model_store.codecs import Event
from model_store.errors import InputError
from model_store.forgotten import digest_of_user
from offline.event_archive import day_files
from offline.event_archive.archive import SCHEMA, EventArchive, Logged

DAY_S = 86_400.0


@pytest.fixture
def archive(tmp_path: Path) -> EventArchive:
    return EventArchive(tmp_path / "events")


def logged(user_id: str, item_id: str, timestamp: float, **fields: Any) -> Logged:
    return Logged(user_id, Event(item_id, timestamp, **fields), round(timestamp * 1e6))


def rows(archive: EventArchive) -> pl.DataFrame:
    return pl.read_parquet(archive.folder / "**/*.parquet")


def test_events_lie_by_their_day_with_all_that_is_known(archive: EventArchive) -> None:
    full = logged(
        *("u1", "i1", DAY_S - 1),
        rating=4.0, type="purchase", value=9.5, event_id="e1", request_id="r1", rank=3,
    )  # fmt: skip
    with archive.locked():
        assert archive.add([full, logged("u2", "i2", DAY_S)]) == 2
    days = {path.parent.name for path in archive.files()}
    assert days == {"day=1970-01-01", "day=1970-01-02"}
    found = rows(archive).sort("timestamp")
    assert dict(found.schema) == SCHEMA
    first = ("u1", "i1", DAY_S - 1, 4.0, "purchase", 9.5, "e1", "r1", 3, round((DAY_S - 1) * 1e6))
    assert found.row(0) == first
    assert found.row(1)[3:9] == (None, "interaction", None, None, None, None)


def test_a_repeat_is_left_out_by_identity_and_by_event_id(archive: EventArchive) -> None:
    with archive.locked():
        assert archive.add([logged("u1", "i1", 10.2), logged("u1", "i1", 10.9)]) == 1
        assert archive.add([logged("u1", "i1", 10.5), logged("u2", "i1", 10.5)]) == 1
        assert archive.add([logged("u1", "i1", 10.5, type="purchase")]) == 1
        named = [logged("u1", "i2", 20.0, event_id="e"), logged("u1", "i2", 30.0, event_id="e")]
        assert archive.add(named) == 1
        # Told again with the time of another day.
        assert archive.add([logged("u1", "i2", 20.0 + DAY_S, event_id="e")]) == 0
        assert archive.add([logged("u2", "i2", 20.0, event_id="e")]) == 1
    assert len(rows(archive)) == 5


def test_what_only_repeats_a_repeat_stays(archive: EventArchive) -> None:
    events = [
        logged("u1", "i1", 10.0, event_id="x"),
        logged("u1", "i2", 11.0, event_id="x"),  # a repeat by its event_id
        logged("u1", "i2", 11.0),
        logged("u1", "i1", 10.0, event_id="y"),  # a repeat by its identity
        logged("u1", "i3", 12.0, event_id="y"),
    ]
    with archive.locked():
        assert archive.add(events) == 3
    assert rows(archive)["item_id"].sort().to_list() == ["i1", "i2", "i3"]


def test_a_forgotten_person_is_removed_once(archive: EventArchive) -> None:
    with archive.locked():
        archive.add([logged("u1", "i1", 10.0), logged("u2", "i1", 0.0)])
        archive.add([logged("u1", "i2", 20.0 + DAY_S)])
        archive.add([logged("u1", "i3", 40.0 + 2 * DAY_S)])
        assert len(archive.files()) == 3
        forgotten = {digest_of_user("u1"): 30.0 + DAY_S}
        assert archive.forget(forgotten) == 2
        assert archive.forget(forgotten) == 0
    assert sorted(rows(archive).select("user_id", "item_id").rows()) == [("u1", "i3"), ("u2", "i1")]
    assert len(archive.files()) == 2  # none is left empty


def test_a_days_last_file_grows_until_it_is_full(
    archive: EventArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_files, "MAX_ROWS", 3)
    with archive.locked():
        for number in range(8):
            archive.add([logged("u1", f"i{number}", 10.0 * number)])
        archive.add([logged("u1", "i8", DAY_S)])
    sizes = [len(pl.read_parquet(path)) for path in archive.files()]
    assert sizes == [3, 3, 2, 1]
    assert dict(rows(archive).schema) == SCHEMA
    assert sorted(rows(archive)["item_id"]) == [f"i{number}" for number in range(9)]


def test_an_event_whose_clock_was_ahead_is_removed_with_those_before(
    archive: EventArchive,
) -> None:
    with archive.locked():
        archive.add([Logged("u1", Event("i1", 40.0), 29_000_000)])
        archive.add([Logged("u1", Event("i2", 40.0), 31_000_000)])
        assert archive.forget({digest_of_user("u1"): 30.0}) == 1
    assert rows(archive)["item_id"].to_list() == ["i2"]


def test_who_was_forgotten_by_the_rule_of_an_earlier_release_is_looked_for_once_more(
    archive: EventArchive,
) -> None:
    forgotten = {digest_of_user("u1"): 30.0}
    with archive.locked():
        archive.add([Logged("u1", Event("i1", 40.0), 29_000_000)])
        (archive.folder / "forgotten.json").write_text('{"until_s": 30.0}')
        assert archive.forget(forgotten) == 1
        archive.add([Logged("u1", Event("i1", 40.0), 29_000_000)])
        assert archive.forget(forgotten) == 0
        (archive.folder / "forgotten.json").write_text("[30.0]")
        with pytest.raises(InputError, match=r"forgotten\.json: not as it was written"):
            archive.forget(forgotten)


def test_two_archivers_do_not_write_into_one_folder(archive: EventArchive) -> None:
    with archive.locked(), pytest.raises(InputError, match="another archiver is at work"):
        EventArchive(archive.folder).locked().__enter__()
    with archive.locked():
        pass


def test_what_a_killed_archiver_left_goes(archive: EventArchive) -> None:
    folder = archive.folder / "day=1970-01-01"
    folder.mkdir(parents=True)
    (folder / ".1-2.parquet.99-aa.partial").write_bytes(b"PAR1")
    with archive.locked():
        assert list(folder.iterdir()) == []


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("")
    with pytest.raises(InputError, match="events: Not a directory"):
        EventArchive(tmp_path / "events").locked().__enter__()
