"""The archive of events: Parquet files by day, each event once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from model_store.codecs import Event, first_reports
from model_store.event_rules import INTERACTION
from offline.event_archive.day_files import DayFiles, day_of

SCHEMA = {
    "user_id": pl.String,
    "item_id": pl.String,
    "timestamp": pl.Float64,
    "rating": pl.Float64,
    "event_type": pl.String,
    "value": pl.Float64,
    "event_id": pl.String,
    "request_id": pl.String,
    "rank": pl.Int64,
    "arrived_us": pl.Int64,
}
"""Columns of the files; `timestamp` in unix seconds, `arrived_us` in unix microseconds."""
REPEATED_WITHIN_DAYS = 2
"""A repeat of an event_id may have come with another time: as far apart as that it is noticed."""


@dataclass(frozen=True)
class Logged:
    """An event as a service accepted it."""

    user_id: str
    event: Event
    arrived_us: int


class EventArchive(DayFiles):
    """Events, each once: of repeats, as `codecs.first_reports` has them, the first stays."""

    what = "events"

    def add(self, logged: Sequence[Logged]) -> int:
        """Write those that are not there yet; returns how many they were.

        Raises:
            InputError: a file there can't be read, or the folder can't be written; some days may
                have been.
        """
        by_day: dict[date, list[Logged]] = defaultdict(list)
        for one in self._without_repeats(logged):
            by_day[day_of(one.event.timestamp)].append(one)
        for day, new in sorted(by_day.items()):
            self.write(day, _frame(new))
        return sum(map(len, by_day.values()))

    def _without_repeats(self, logged: Sequence[Logged]) -> list[Logged]:
        by_user: dict[str, list[Logged]] = defaultdict(list)
        for one in logged:
            by_user[one.user_id].append(one)
        archived = self._archived_of(by_user, {day_of(one.event.timestamp) for one in logged})
        left: list[Logged] = []
        for user_id, of_user in by_user.items():
            before = archived.get(user_id, [])
            in_order = sorted(of_user, key=lambda one: one.arrived_us)
            first = first_reports([*before, *(one.event for one in in_order)])
            kept = set(map(id, first))
            left += (one for one in in_order if id(one.event) in kept)
        return left

    def _archived_of(self, user_ids: Iterable[str], days: set[date]) -> dict[str, list[Event]]:
        """What is there of users on some days, and on those before and after them."""
        paths = self.of_days(days, REPEATED_WITHIN_DAYS)
        found: dict[str, list[Event]] = defaultdict(list)
        if not paths:
            return found
        columns = ["user_id", "item_id", "timestamp", "event_type", "event_id", "arrived_us"]
        rows = self.read(
            pl.scan_parquet(paths)
            .select(columns)
            .filter(pl.col("user_id").is_in(list(user_ids)))
            .sort("arrived_us")
        )
        for user_id, item_id, timestamp, kind, event_id, _ in rows.iter_rows():
            event = Event(item_id, timestamp, type=kind or INTERACTION, event_id=event_id)
            found[user_id].append(event)
        return found


def _frame(logged: Sequence[Logged]) -> pl.DataFrame:
    rows = [
        (
            one.user_id,
            one.event.item_id,
            one.event.timestamp,
            one.event.rating,
            one.event.type,
            one.event.value,
            one.event.event_id,
            one.event.request_id,
            one.event.rank,
            one.arrived_us,
        )
        for one in logged
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
