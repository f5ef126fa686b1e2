"""Archived answers, and which of their items were clicked."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from model_store.errors import InputError
from model_store.event_rules import INTERACTION, EventRules
from offline.event_archive.archive import SCHEMA as EVENT_SCHEMA
from offline.event_archive.archive import EventArchive
from offline.event_archive.day_files import DayFiles
from offline.event_archive.exposure_archive import SCHEMA, ExposureArchive, scan_exposures

CLICKED = "clicked"


def read_events(folder: Path) -> pl.DataFrame:
    """All archived events, in order of arrival.

    Raises:
        InputError: there are none, or a file is none of an archive.
    """
    archive = EventArchive(folder)
    files = _files(archive, "longtail events archive --out")
    rows = archive.read(pl.scan_parquet(files).select(list(EVENT_SCHEMA)))
    return rows.sort("arrived_us", maintain_order=True)


def read_answers(folder: Path, events: pl.DataFrame, rules: EventRules) -> pl.DataFrame:
    """Archived answers to users, by time.

    A click is a positive event of the user with an item of the answer that names its request_id;
    several with one item are one. Answers to nobody in particular can't be clicked, as events are a
    user's, and answers without items can't either: both are left out.

    Args:
        folder: of the archive of exposures.
        events: of `read_events`.
        rules: tell which events are positive.

    Returns:
        The columns of the archive, and `clicked`: for each item whether it was, list of bool.

    Raises:
        InputError: there are no such answers, or a file is none of an archive.
    """
    archive = ExposureArchive(folder)
    files = _files(archive, "longtail events archive --exposures")
    found = archive.read(scan_exposures(files).select(list(SCHEMA)))
    found = found.filter(pl.col("user_id").is_not_null() & (pl.col("item_ids").list.len() > 0))
    if not len(found):
        raise InputError(f"{folder}: holds no answers to users")
    answers = found.sort("timestamp", "request_id", "user_id").with_row_index("row")
    key = ["request_id", "user_id", "item_id"]
    shown = answers.select("row", *key[:2], item_id="item_ids").explode("item_id")
    shown = shown.with_columns(place=pl.int_range(pl.len()))
    clicks = positive(events.filter(pl.col("request_id").is_not_null()), rules)
    # An answer may be in the log twice with other times: the first one has the click.
    clicked = (
        shown.join(clicks.select(key).unique(), on=key, how="semi")
        .unique(key, keep="first", maintain_order=True)
        .select("place", is_clicked=pl.lit(value=True))
    )
    flags = (
        shown.join(clicked, on="place", how="left")
        .sort("place")
        .group_by("row", maintain_order=True)
        .agg(pl.col("is_clicked").fill_null(value=False).alias(CLICKED))
    )
    return answers.join(flags, on="row", maintain_order="left").drop("row")


def positive(events: pl.DataFrame, rules: EventRules) -> pl.DataFrame:
    """The positive ones of events, by a version's rules."""
    kinds = events.select("event_type", "rating").unique()
    weighed = kinds.with_columns(
        weight=pl.Series(
            [rules.weigh(kind or INTERACTION, rating) for kind, rating in kinds.iter_rows()],
            dtype=pl.Float64,
        )
    )
    joined = events.join(weighed, on=["event_type", "rating"], nulls_equal=True, how="left")
    return joined.filter(pl.col("weight") > 0).drop("weight")


def _files(archive: DayFiles, command: str) -> list[Path]:
    folder, files = archive.folder, archive.files()
    if not files:
        raise InputError(f"{folder}: holds no archived {archive.what} (`{command} {folder}`)")
    return files
