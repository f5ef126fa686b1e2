"""The archive of events: a folder of Parquet files by day, each event once."""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from model_store.codecs import Event, first_reports
from model_store.errors import InputError
from model_store.event_rules import INTERACTION
from model_store.files import write_atomically
from model_store.forgotten import digest_of_user

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
REPEATED_WITHIN = timedelta(days=2)
"""A repeat of an event_id may have come with another time: as far apart as that it is noticed."""
_LOCK, _FORGOTTEN = ".lock", "forgotten.json"


@dataclass(frozen=True)
class Logged:
    """An event as a service accepted it."""

    user_id: str
    event: Event
    arrived_us: int


class EventArchive:
    """Files `day=2026-11-30/….parquet`, by the UTC day of the event's time.

    A file is complete and on the disk once it has its name. An event is there once: of repeats, as
    `codecs.first_reports` has them, the first stays.

    Args:
        folder: of the files; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from writing meanwhile.

        Raises:
            InputError: another archiver does already, or the folder can't be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / _LOCK).open("ab")
        except OSError as error:
            raise InputError(f"{self.folder}: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"{self.folder}: another archiver is at work on it") from None
            for left in self.folder.glob("day=*/.*.partial"):
                left.unlink(missing_ok=True)  # of one that was killed
            yield

    def add(self, logged: Sequence[Logged]) -> int:
        """Write those that are not there yet; returns how many they were.

        Raises:
            InputError: the folder can't be written; some days may have been.
        """
        by_day: dict[date, list[Logged]] = defaultdict(list)
        for one in self._without_repeats(logged):
            by_day[_day_of(one.event.timestamp)].append(one)
        for day, new in sorted(by_day.items()):
            self._write(_folder_of(self.folder, day), _frame(new))
        return sum(map(len, by_day.values()))

    def forget(self, forgotten: Mapping[bytes, float]) -> int:
        """Remove what people did before they were forgotten; returns how many events it was.

        Args:
            forgotten: unix seconds by `forgotten.digest_of_user`, all there are. Those that were
                applied before are not looked for again.
        """
        until_s = self._forgotten_until_s()
        new = {digest: at_s for digest, at_s in forgotten.items() if at_s > until_s}
        if not new:
            return 0
        removed = sum(self._forget_in(path, new) for path in self.files())
        state = json.dumps({"until_s": max(new.values())})
        write_atomically(self.folder / _FORGOTTEN, state.encode())
        return removed

    def files(self) -> list[Path]:
        """All files, by day."""
        return sorted(self.folder.glob("day=*/*.parquet"))

    def _without_repeats(self, logged: Sequence[Logged]) -> list[Logged]:
        by_user: dict[str, list[Logged]] = defaultdict(list)
        for one in logged:
            by_user[one.user_id].append(one)
        archived = self._archived_of(by_user, {_day_of(one.event.timestamp) for one in logged})
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
        margin = range(-REPEATED_WITHIN.days, REPEATED_WITHIN.days + 1)
        near = {_shifted(day, n) for day in days for n in margin}
        paths = [path for day in near for path in _folder_of(self.folder, day).glob("*.parquet")]
        found: dict[str, list[Event]] = defaultdict(list)
        if not paths:
            return found
        columns = ["user_id", "item_id", "timestamp", "event_type", "event_id", "arrived_us"]
        rows = (
            pl.scan_parquet(paths)
            .select(columns)
            .filter(pl.col("user_id").is_in(list(user_ids)))
            .sort("arrived_us")
            .collect()
        )
        for user_id, item_id, timestamp, kind, event_id, _ in rows.iter_rows():
            event = Event(item_id, timestamp, type=kind or INTERACTION, event_id=event_id)
            found[user_id].append(event)
        return found

    def _forget_in(self, path: Path, forgotten: Mapping[bytes, float]) -> int:
        user_ids = pl.read_parquet(path, columns=["user_id"])["user_id"].unique().to_list()
        ends = {one: at_s for one in user_ids if (at_s := forgotten.get(digest_of_user(one)))}
        if not ends:
            return 0
        frame = pl.read_parquet(path)
        end = pl.col("user_id").replace_strict(ends, default=0.0, return_dtype=pl.Float64)
        left = frame.filter(pl.col("timestamp") > end)
        if len(left):
            self._write(path.parent, left, name=path.name)
        else:
            path.unlink()
        return len(frame) - len(left)

    def _forgotten_until_s(self) -> float:
        try:
            return float(json.loads((self.folder / _FORGOTTEN).read_text())["until_s"])
        except FileNotFoundError:
            return 0.0
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.folder / _FORGOTTEN}: not as it was written") from error

    def _write(self, folder: Path, frame: pl.DataFrame, name: str | None = None) -> None:
        try:
            write_atomically(folder / (name or _new_name()), frame.write_parquet)
            for changed in (folder, self.folder):
                _flush(changed)
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}") from error


def _new_name() -> str:
    return f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.parquet"


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


def _day_of(timestamp: float) -> date:
    return datetime.fromtimestamp(timestamp, UTC).date()


def _shifted(day: date, n_days: int) -> date:
    return date.fromordinal(max(1, day.toordinal() + n_days))


def _folder_of(folder: Path, day: date) -> Path:
    return folder / f"day={day.isoformat()}"


def _flush(folder: Path) -> None:
    """Make new names of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
