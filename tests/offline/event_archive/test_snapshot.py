"""A copy of the archive as it was, without people who were forgotten since."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from model_store.codecs import Event
from model_store.errors import InputError
from model_store.forgotten import digest_of_user
from offline.data.sources import open_archive
from offline.event_archive.archive import EventArchive, Logged
from offline.event_archive.snapshot import copy_archive

NOW_US = 10_000_000


def logged(user_id: str, timestamp: float, arrived_us: int) -> Logged:
    return Logged(user_id, Event("i1", timestamp), arrived_us)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    events = EventArchive(tmp_path / "events")
    with events.locked():
        events.add([logged("ann", 5.0, 5), logged("ben", 5.0, 6), logged("ben", 90_000.0, 7)])
        events.add([logged("ann", 6.0, NOW_US + 1)])
    return tmp_path / "events"


def copied(archive: Path, **choices: object) -> list[tuple[str, float]]:
    folder = archive.parent / "copy"
    copy_archive(archive, folder, **{"until_us": NOW_US, "forgotten": {}, **choices})  # type: ignore[arg-type]
    assert open_archive(folder)
    frame = pl.read_parquet(folder / "**/*.parquet")
    return [*frame.select("user_id", "timestamp").iter_rows()]


def test_what_came_later_is_left_out(archive: Path) -> None:
    assert copied(archive) == [("ann", 5.0), ("ben", 5.0), ("ben", 90_000.0)]


def test_a_forgotten_person_is_left_out_though_the_archiver_has_not_looked(archive: Path) -> None:
    assert copied(archive, forgotten={digest_of_user("ben"): 10.0}) == [
        ("ann", 5.0),
        ("ben", 90_000.0),
    ]


def test_nothing_is_an_error_that_says_so(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no archived events"):
        copied(tmp_path / "elsewhere")
    everybody = {digest_of_user(one): 1e6 for one in ("ann", "ben")}
    with pytest.raises(InputError, match="holds no events of anybody"):
        copied(archive, forgotten=everybody)
