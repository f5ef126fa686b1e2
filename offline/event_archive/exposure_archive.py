"""The archive of exposures: who was shown which items, as Parquet files by day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from model_store.deployments import DEFAULT
from model_store.exposure_log import Exploration, Exposure
from offline.event_archive.day_files import DayFiles, day_of

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "request_id": pl.String,
    "user_id": pl.String,
    "timestamp": pl.Float64,
    "version": pl.String,
    "arm": pl.String,
    "served_by": pl.String,
    "model": pl.String,
    "item_ids": pl.List(pl.String),
    "temperature": pl.Float64,
    "n_candidates": pl.Int64,
    "log_propensities": pl.List(pl.Float64),
}
"""Columns of the files; `timestamp` in unix seconds, `item_ids` best first.

The last three are of `Exploration`, null where nothing was drawn. They and `model` are missing in
files of earlier releases, whose answers were given under the name `default`, or under one that is
not known any more.
"""


def scan_exposures(paths: list[Path]) -> pl.LazyFrame:
    """Rows of some files, which are one at least, with all columns of `SCHEMA`."""
    rows = pl.scan_parquet(paths, schema=SCHEMA, missing_columns="insert")
    return rows.with_columns(pl.col("model").fill_null(DEFAULT))


class ExposureArchive(DayFiles):
    """Answers, each once: a repeat has the same request_id, user_id, time and items."""

    what = "exposures"

    def add(self, exposures: Sequence[Exposure]) -> int:
        """Write those that are not there yet; returns how many they were.

        Raises:
            InputError: a file there can't be read, or the folder can't be written; some days may
                have been.
        """
        by_day: dict[date, list[Exposure]] = defaultdict(list)
        for shown in dict.fromkeys(exposures):
            by_day[day_of(shown.at_s)].append(shown)
        n_new = 0
        for day, found in sorted(by_day.items()):
            known = self._archived(day, {shown.request_id for shown in found})
            new = [shown for shown in found if shown not in known]
            if new:
                self.write(day, _frame(new))
            n_new += len(new)
        return n_new

    def _archived(self, day: date, request_ids: set[str]) -> set[Exposure]:
        paths = self.of_days({day})
        if not paths:
            return set()
        rows = scan_exposures(paths).filter(pl.col("request_id").is_in(list(request_ids)))
        return set(map(_exposure, self.read(rows.select(list(SCHEMA))).iter_rows()))


def _exposure(row: tuple[Any, ...]) -> Exposure:
    request_id, user_id, at_s, version, arm, served_by, model, item_ids, *exploration = row
    temperature, n_candidates, log_propensities = exploration
    drawn = None
    if temperature is not None:
        drawn = Exploration(temperature, n_candidates, tuple(log_propensities))
    answer = (request_id, user_id, at_s, version, arm, served_by)
    return Exposure(*answer, tuple(item_ids), drawn, model)


def _frame(exposures: Sequence[Exposure]) -> pl.DataFrame:
    rows = []
    for shown in exposures:
        answer = (shown.request_id, shown.user_id, shown.at_s, shown.version, shown.arm)
        drawn = (None, None, None) if shown.exploration is None else astuple(shown.exploration)
        rows.append((*answer, shown.served_by, shown.model, list(shown.item_ids), *drawn))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
