"""Copies of archives as they were at a time, for a training that may be resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from model_store.errors import InputError
from model_store.files import write_atomically
from model_store.forgotten import digest_of_user
from offline.event_archive.archive import SCHEMA, EventArchive
from offline.event_archive.day_files import DayFiles, are_left
from offline.event_archive.exposure_archive import SCHEMA as EXPOSURE_SCHEMA
from offline.event_archive.exposure_archive import ExposureArchive, scan_exposures


def copy_archive(
    archive: Path, folder: Path, *, until_us: int, forgotten: Mapping[bytes, float]
) -> int:
    """Copy the events that services got until a time; answers how many they are.

    What people did before they were forgotten is left out, also where the archiver has not looked
    since.

    Args:
        archive: folder of `longtail events archive`.
        folder: gets the copy, an archive as well.
        until_us: unix microseconds.
        forgotten: unix seconds by `digest_of_user`.

    Raises:
        InputError: there is no archive, a file of it can't be read, or it holds no such event.
    """
    archived = EventArchive(archive)
    files = archived.files()
    if not files:
        raise InputError(f"{archive}: holds no archived events (`longtail events archive`)")
    rows = archived.read(
        pl.scan_parquet(files)
        .select(list(SCHEMA))
        .filter(pl.col("arrived_us") <= until_us)
        .sort("arrived_us", maintain_order=True)
    )
    rows = rows_without_forgotten(rows, forgotten)
    if not len(rows):
        raise InputError(f"{archive}: holds no events of anybody who wasn't forgotten since")
    write_atomically(folder / "day=all" / "events.parquet", rows.write_parquet)
    return len(rows)


def copy_drawn(
    archive: Path, folder: Path, *, until_us: int, forgotten: Mapping[bytes, float]
) -> int:
    """Copy the answers to users that were drawn at random until a time; answers how many they are.

    Those given to people before they were forgotten are left out. Of none there is no file.

    Args:
        archive: folder of `longtail events archive --exposures`.
        folder: gets the copy, an archive as well.
        until_us: unix microseconds.
        forgotten: unix seconds by `digest_of_user`.

    Raises:
        InputError: there is no archive, or a file of it can't be read.
    """
    archived = ExposureArchive(archive)
    files = archived.files()
    if not files:
        raise InputError(
            f"{archive}: holds no archived exposures (`longtail events archive --exposures`)"
        )
    rows = archived.read(
        scan_exposures(files)
        .select(list(EXPOSURE_SCHEMA))
        .filter(
            pl.col("timestamp") <= until_us / 1e6,
            pl.col("user_id").is_not_null(),
            pl.col("log_propensities").list.len() > 0,
        )
        .sort("timestamp", maintain_order=True)
    )
    rows = rows_without_forgotten(rows, forgotten)
    if len(rows):
        write_atomically(folder / "day=all" / "exposures.parquet", rows.write_parquet)
    return len(rows)


def forget_in_copy(folder: Path, forgotten: Mapping[bytes, float]) -> None:
    """Remove from a copy who was forgotten since it was made; it stays as it is without them.

    Args:
        folder: of `copy_archive` or `copy_drawn`; may be empty, or not there.
        forgotten: unix seconds by `digest_of_user`.

    Raises:
        InputError: a file can't be read.
    """
    copy = DayFiles(folder)
    for path in copy.files():
        rows = copy.read(pl.scan_parquet(path))
        left = rows_without_forgotten(rows, forgotten)
        if not len(left):
            path.unlink()
        elif len(left) < len(rows):
            write_atomically(path, left.write_parquet)


def rows_without_forgotten(rows: pl.DataFrame, forgotten: Mapping[bytes, float]) -> pl.DataFrame:
    """Rows without those of people before they were forgotten.

    Args:
        rows: of an archive, with a `user_id` and a `timestamp` in unix seconds.
        forgotten: unix seconds by `digest_of_user`.
    """
    ends = {
        user_id: at_s
        for user_id in rows["user_id"].unique().to_list()
        if (at_s := forgotten.get(digest_of_user(user_id))) is not None
    }
    if not ends:
        return rows
    return rows.filter(are_left(rows, ends))
