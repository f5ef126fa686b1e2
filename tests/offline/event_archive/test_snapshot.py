"""A copy of the archive as it was, without people who were forgotten since."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from model_store.codecs import Event
from model_store.errors import InputError
from model_store.exposure_log import Exploration, Exposure
from model_store.forgotten import digest_of_user
from offline.data.sources import open_archive
from offline.event_archive.archive import EventArchive, Logged
from offline.event_archive.exposure_archive import ExposureArchive, scan_exposures
from offline.event_archive.snapshot import copy_archive, copy_drawn, forget_in_copy

NOW_US = 10_000_000


def logged(user_id: str, timestamp: float, arrived_us: int) -> Logged:
    return Logged(user_id, Event("i1", timestamp), arrived_us)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    events = EventArchive(tmp_path / "events")
    with events.locked():
        events.add([logged("ann", 5.0, 5), logged("ben", 5.0, 6)])
        # A client's clock may be ahead.
        events.add([logged("ben", 9.0, 7_000_000), logged("ben", 90_000.0, 9_000_000)])
        events.add([logged("ann", 6.0, NOW_US + 1)])
    return tmp_path / "events"


def copied(archive: Path, **choices: object) -> list[tuple[str, float]]:
    folder = archive.parent / "copy"
    copy_archive(archive, folder, **{"until_us": NOW_US, "forgotten": {}, **choices})  # type: ignore[arg-type]
    assert open_archive(folder)
    frame = pl.read_parquet(folder / "**/*.parquet")
    return [*frame.select("user_id", "timestamp").iter_rows()]


def test_what_came_later_is_left_out(archive: Path) -> None:
    assert copied(archive) == [("ann", 5.0), ("ben", 5.0), ("ben", 9.0), ("ben", 90_000.0)]


def test_a_forgotten_person_is_left_out_though_the_archiver_has_not_looked(archive: Path) -> None:
    assert copied(archive, forgotten={digest_of_user("ben"): 8.0}) == [
        ("ann", 5.0),
        ("ben", 90_000.0),
    ]


def test_who_is_forgotten_later_is_removed_from_a_copy(archive: Path, tmp_path: Path) -> None:
    copied(archive)
    [path] = (tmp_path / "copy").glob("day=*/*.parquet")
    before = path.read_bytes()
    forget_in_copy(tmp_path / "copy", {digest_of_user("carl"): 8.0})
    assert path.read_bytes() == before  # or what was made of it would be made again
    forget_in_copy(tmp_path / "copy", {digest_of_user("ben"): 8.0})
    left = pl.read_parquet(path).select("user_id", "timestamp").rows()
    assert left == [("ann", 5.0), ("ben", 90_000.0)]
    forget_in_copy(tmp_path / "copy", {digest_of_user(one): 1e6 for one in ("ann", "ben")})
    assert not path.exists()
    forget_in_copy(tmp_path / "nothing", {digest_of_user("ann"): 8.0})


def test_a_damaged_file_is_named_in_one_line(archive: Path, tmp_path: Path) -> None:
    damaged = archive / "day=1970-01-01" / "0-damaged.parquet"
    damaged.write_bytes(b"PAR1 and nothing else")
    events = EventArchive(archive)
    for act in (
        lambda: copied(archive),
        lambda: events.add([logged("ann", 7.0, 7)]),
        lambda: events.forget({digest_of_user("ben"): 8.0}),
        lambda: copy_drawn(archive, tmp_path / "drawn", until_us=NOW_US, forgotten={}),
    ):
        with pytest.raises(InputError, match=rf"^{archive}: not an archive of .+: .+$"):
            act()


def test_nothing_is_an_error_that_says_so(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no archived events"):
        copied(tmp_path / "elsewhere")
    everybody = {digest_of_user(one): 1e6 for one in ("ann", "ben")}
    with pytest.raises(InputError, match="holds no events of anybody"):
        copied(archive, forgotten=everybody)


def answer(user_id: str | None, at_s: float, *, drawn: bool = True) -> Exposure:
    how = Exploration(1.0, 10, (-0.5,)) if drawn else None
    return Exposure(f"r{at_s}", user_id, at_s, "v1", "", "model", ("i1", "i2"), how)


def test_of_answers_those_that_were_drawn_for_people_are_copied(tmp_path: Path) -> None:
    shown = ExposureArchive(tmp_path / "shown")
    with shown.locked():
        shown.add([answer("ann", 1.0), answer("ben", 2.0), answer("ben", 4.0), answer("ann", 11.0)])
        shown.add([answer(None, 3.0), answer("ann", 5.0, drawn=False)])
    copy = tmp_path / "copy"
    forgotten = {digest_of_user("ben"): 3.0}
    assert copy_drawn(shown.folder, copy, until_us=NOW_US, forgotten=forgotten) == 2
    rows = scan_exposures([*copy.glob("day=*/*.parquet")]).collect()
    assert [*rows.select("user_id", "timestamp").iter_rows()] == [("ann", 1.0), ("ben", 4.0)]
    with pytest.raises(InputError, match="holds no archived exposures"):
        copy_drawn(tmp_path / "nothing", copy, until_us=NOW_US, forgotten={})


def test_of_no_drawn_answers_there_is_no_copy(tmp_path: Path) -> None:
    shown = ExposureArchive(tmp_path / "shown")
    with shown.locked():
        shown.add([answer("ann", 1.0, drawn=False)])
    assert copy_drawn(shown.folder, tmp_path / "copy", until_us=NOW_US, forgotten={}) == 0
    assert not (tmp_path / "copy").exists()
