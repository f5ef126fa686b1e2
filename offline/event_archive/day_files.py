"""A folder of Parquet files by day, written by one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from model_store.errors import InputError
from model_store.files import make_folder, write_atomically
from model_store.forgotten import digest_of_user

_LOCK, _FORGOTTEN = ".lock", "forgotten.json"
_ARRIVED_US = "arrived_us"
_RULE = 2
"""Of `are_left`. By the first one, of earlier releases, events were of when they said alone."""
MAX_ROWS = 100_000
"""Of a file that further rows of its day are added to. With a file for each look, an archiver that
looks every minute would leave half a million a year; to write so many rows again takes 60 ms."""


class DayFiles:
    """Files `day=2026-11-30/….parquet`, by the UTC day of the column `timestamp`, unix seconds.

    A file is complete and on the disk once it has its name; a longer one may take its place. Rows
    have a column `user_id` as well.

    Args:
        folder: of the files; made if it is not there.
    """

    what = "days"
    """What its rows are, for messages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from writing meanwhile.

        Raises:
            InputError: another archiver does already, or the folder can't be written.
        """
        try:
            make_folder(self.folder)
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

    def forget(self, forgotten: Mapping[bytes, float]) -> int:
        """Remove what people did before they were forgotten; returns how many rows it was.

        Args:
            forgotten: unix seconds by `forgotten.digest_of_user`, all there are. Those that were
                applied before, by the rule that holds now, are not looked for again.

        Raises:
            InputError: a file can't be read, or the folder can't be written.
        """
        until_s = self._forgotten_until_s()
        new = {digest: at_s for digest, at_s in forgotten.items() if at_s > until_s}
        if not new:
            return 0
        removed = sum(self._forget_in(path, new) for path in self.files())
        state = json.dumps({"until_s": max(new.values()), "rule": _RULE})
        write_atomically(self.folder / _FORGOTTEN, state.encode())
        return removed

    def read(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Rows of its files.

        Raises:
            InputError: a file can't be read, or is none of such an archive.
        """
        try:
            return rows.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            [line, *_] = str(error).splitlines() or [type(error).__name__]
            raise InputError(f"{self.folder}: not an archive of {self.what}: {line}") from error

    def files(self) -> list[Path]:
        """All files, by day."""
        return sorted(self.folder.glob("day=*/*.parquet"))

    def of_days(self, days: set[date], margin: int = 0) -> list[Path]:
        """The files of some days, and of so many before and after each."""
        near = {_shifted(day, n) for day in days for n in range(-margin, margin + 1)}
        return [path for day in sorted(near) for path in self._of(day).glob("*.parquet")]

    def write(self, day: date, frame: pl.DataFrame) -> None:
        """Add a day's rows to its last file, or where that is full write another one.

        Raises:
            InputError: the last file can't be read, or the folder can't be written.
        """
        folder = self._of(day)
        name = f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.parquet"
        last = max(folder.glob("*.parquet"), default=None)
        if last is not None:
            rows = pl.scan_parquet(last)
            if self.read(rows.select(pl.len())).item() < MAX_ROWS:
                # One of an earlier release may lack columns.
                frame = pl.concat([self.read(rows), frame], how="diagonal_relaxed")
                name = last.name
        self._write(folder, frame, name)

    def _of(self, day: date) -> Path:
        return self.folder / f"day={day.isoformat()}"

    def _forget_in(self, path: Path, forgotten: Mapping[bytes, float]) -> int:
        user_ids = self.read(pl.scan_parquet(path).select(pl.col("user_id").unique()))["user_id"]
        named = (one for one in user_ids.to_list() if one is not None)
        ends = {one: at_s for one in named if (at_s := forgotten.get(digest_of_user(one)))}
        if not ends:
            return 0
        frame = self.read(pl.scan_parquet(path))
        left = frame.filter(are_left(frame, ends))
        if len(left):
            self._write(path.parent, left, path.name)
        else:
            path.unlink()
        return len(frame) - len(left)

    def _forgotten_until_s(self) -> float:
        try:
            state = json.loads((self.folder / _FORGOTTEN).read_text())
            return float(state["until_s"]) if int(state.get("rule", 1)) >= _RULE else 0.0
        except FileNotFoundError:
            return 0.0
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self.folder / _FORGOTTEN}: not as it was written") from error

    def _write(self, folder: Path, frame: pl.DataFrame, name: str) -> None:
        try:
            write_atomically(folder / name, frame.write_parquet)
            for changed in (folder, self.folder):
                _flush(changed)
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}") from error


def are_left(rows: pl.DataFrame, ends: Mapping[str, float]) -> pl.Expr:
    """Whether rows are not of what people did before they were forgotten.

    An event may say that it happened a little later than it arrived, as clients' clocks differ: one
    that had arrived is of before, whatever it says.

    Args:
        rows: with `user_id` and `timestamp`, and perhaps `arrived_us`, of an archive.
        ends: when some of them were forgotten, in unix seconds by user_id.
    """
    end = pl.col("user_id").replace_strict(dict(ends), default=None, return_dtype=pl.Float64)
    at_s = pl.col("timestamp")
    if _ARRIVED_US in rows.columns:
        at_s = pl.min_horizontal(at_s, pl.col(_ARRIVED_US) / 1e6)
    return end.is_null() | (at_s > end)


def day_of(timestamp: float) -> date:
    """The UTC day that a time in unix seconds lies in."""
    return datetime.fromtimestamp(timestamp, UTC).date()


def _shifted(day: date, n_days: int) -> date:
    return date.fromordinal(max(1, day.toordinal() + n_days))


def _flush(folder: Path) -> None:
    """Make new names of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
