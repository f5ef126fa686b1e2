"""Rows of interactions as arrays: read, validated, by user and time, without repetitions."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from model_store.errors import InputError
from offline.data.column_readings import NOT_READ, ColumnKind, ColumnReading
from offline.data.columns import EVENT_TYPE, ITEM_ID, RATING, TIMESTAMP, USER_ID
from offline.data.event_types import EventTypes, describe_names
from offline.data.id_numbers import IdNumbers
from offline.data.issues import MAX_EXAMPLES, IssueKind, Issues
from offline.data.kinds.ids import as_ids
from offline.data.kinds.numbers import are_blank, as_floats, read_numbers
from offline.data.kinds.time_counts import are_plausible
from offline.data.kinds.time_shapes import AlikeTimes
from offline.data.kinds.times import AmbiguousDatesError, ReadTimes, read_times
from offline.data.row_checks import Flags, RowChecks, Show
from offline.data.tables import Table
from offline.data.time_order import sort_by_time

_KINDS: dict[str, ColumnKind] = {
    USER_ID: "id",
    ITEM_ID: "id",
    TIMESTAMP: "time",
    RATING: "number",
    EVENT_TYPE: "text",
}
# A file is newest first where so many of a user's neighbouring rows go back in time.
_NEWEST_FIRST_SHARE = 0.95


@dataclass(frozen=True)
class InteractionRows:
    """Good rows by user and time, ties in file order; ids are numbered by first appearance.

    Attributes:
        user_ids, item_ids: external ids by number, from 0.
        users, items: numbers, uint32 [n].
        timestamps: unix seconds, float64 [n].
        ratings: float32 [n], NaN where a row has none; None without a column of ratings.
        event_types: of the rows; None without a column of types.
        readings: how each column of the file was read.
    """

    user_ids: list[str]
    item_ids: list[str]
    users: npt.NDArray[np.uint32]
    items: npt.NDArray[np.uint32]
    timestamps: npt.NDArray[np.float64]
    ratings: npt.NDArray[np.float32] | None
    event_types: EventTypes | None
    readings: tuple[ColumnReading, ...]

    def take(self, rows: npt.NDArray[np.int64] | Flags) -> InteractionRows:
        """Some of the rows, by position or mask."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            timestamps=self.timestamps[rows],
            ratings=None if self.ratings is None else self.ratings[rows],
            event_types=None if self.event_types is None else self.event_types.take(rows),
        )


def read_interaction_rows(
    table: Table,
    columns: Mapping[str, str],
    issues: Issues,
    *,
    day_first: bool | None = None,
    now_s: float | None = None,
) -> InteractionRows:
    """Read all rows.

    Args:
        table: the file.
        columns: its names for user_id, item_id, timestamp and perhaps rating and event_type.
        issues: of rows are added.
        day_first: whether the day is first in "01/02/2019"; None: find it from the column.
        now_s: later times are not plausible; None: the clock's.

    Raises:
        InputError: the table has no row that can be used, or its days can't be told from months.
    """
    raw = _RawRows.read(table, columns, issues)
    if not len(raw.places):
        raise _unusable(table, 0, issues)
    times = _read_times(raw, table, columns[TIMESTAMP], day_first, now_s, issues)
    with ThreadPoolExecutor(1) as pool:
        # In most files all rows are good, so they are ordered before that is known.
        has_all = not np.isnan(times.seconds).any()
        ordering = pool.submit(sort_by_time, raw.users.rows, times.seconds) if has_all else None
        good = _select_good(raw, times, table, issues, time.time() if now_s is None else now_s)
        if not good.any():
            raise _unusable(table, len(good), issues)
        ratings, rating_detail = _read_ratings(raw, good, table, issues)
        users, user_ids, user_detail = raw.users.of_rows(good)
        items, item_ids, item_detail = raw.items.of_rows(good)
        event_types, type_detail = _event_types(raw, good)
    details = {
        USER_ID: user_detail,
        ITEM_ID: item_detail,
        TIMESTAMP: times.detail,
        RATING: rating_detail,
        EVENT_TYPE: type_detail,
    }
    seconds, places = times.seconds, raw.places
    if ordering is not None and good.all():
        order, timestamps = ordering.result()
    else:
        seconds, places = seconds[good], places.filter(pl.Series(good))
        ratings = None if ratings is None else ratings[good]
        order, timestamps = sort_by_time(users, seconds)
    rows = InteractionRows(
        user_ids,
        item_ids,
        users,
        items,
        seconds,
        ratings,
        event_types,
        _readings(table, columns, details),
    )
    return _in_order(rows, order, timestamps, places, table, issues)


@dataclass(frozen=True)
class _RawRows:
    """All rows as the file has them; times and ratings are settled once the last is there."""

    places: pl.Series
    users: IdNumbers
    items: IdNumbers
    times: pl.Series
    alike: AlikeTimes
    ratings: pl.Series | None
    types: IdNumbers | None

    @classmethod
    def read(cls, table: Table, columns: Mapping[str, str], issues: Issues) -> _RawRows:
        users, items, types = IdNumbers(), IdNumbers(), IdNumbers()
        places, times, ratings = [], [], []
        alike = AlikeTimes()
        for batch in table.batches(list(columns.values()), issues):
            users.add(batch.frame[columns[USER_ID]])
            items.add(batch.frame[columns[ITEM_ID]])
            times.append(_compact(batch.frame[columns[TIMESTAMP]]))
            alike.add(times[-1])  # while the next rows are parsed
            if EVENT_TYPE in columns:
                names = as_ids(batch.frame[columns[EVENT_TYPE]]).str.strip_chars()
                types.add(names.set(are_blank(names), None))
            if RATING in columns:
                ratings.append(_compact(batch.frame[columns[RATING]]))
            places.append(batch.places)
        return cls(
            pl.concat([pl.Series(dtype=pl.UInt32), *places]),
            users,
            items,
            _joined(times),
            alike,
            _joined(ratings) if RATING in columns else None,
            types if EVENT_TYPE in columns else None,
        )


def _compact(values: pl.Series) -> pl.Series:
    """Texts of whole numbers as integers, which take less memory; other columns as they are."""
    if values.dtype != pl.String or (len(values) and not _is_integer(values[0])):
        return values
    numbers = values.cast(pl.Int64, strict=False)
    return values if numbers.null_count() > values.null_count() else numbers


def _is_integer(text: str | None) -> bool:
    return text is None or re.fullmatch(r"\s*[+-]?\d+\s*", text) is not None


def _joined(parts: list[pl.Series]) -> pl.Series:
    if len({str(part.dtype) for part in parts}) > 1:
        parts = [part.cast(pl.String) for part in parts]
    return pl.concat(parts) if parts else pl.Series(dtype=pl.String)


def _read_times(
    raw: _RawRows,
    table: Table,
    column: str,
    day_first: bool | None,
    now_s: float | None,
    issues: Issues,
) -> ReadTimes:
    try:
        times = read_times(raw.times, day_first=day_first, now_s=now_s, alike=raw.alike)
    except AmbiguousDatesError as error:
        raise InputError(
            f"{table.path}: column {column!r}: {error}; say --kinds "
            "timestamp=day-first or timestamp=month-first"
        ) from error
    if times.warning:
        issues.add(table.path.name, IssueKind.DAY_BY_CUSTOM, len(raw.places), [times.warning])
    return times


def _select_good(
    raw: _RawRows, times: ReadTimes, table: Table, issues: Issues, now_s: float
) -> Flags:
    """Rows that can be used, bool [n]; each other row is reported."""
    checks = RowChecks(table, raw.places, issues)
    for ids, missing in ((raw.users, IssueKind.MISSING_USER), (raw.items, IssueKind.MISSING_ITEM)):
        for kind, bad in ids.bad_rows(missing):
            checks.drop(kind, bad, None if kind is missing else _show_id(ids))
        shortened = ids.shortened_rows()
        if shortened is not None:
            checks.report(IssueKind.SHORTENED_ID, shortened, _show_id(ids))
    has_time = ~np.isnan(times.seconds)
    if not has_time.all():
        checks.drop(IssueKind.MISSING_TIMESTAMP, ~has_time & are_blank(raw.times).to_numpy())
        checks.drop(IssueKind.BAD_TIMESTAMP, ~has_time, raw.times.__getitem__)
    implausible = has_time & ~are_plausible(times.seconds, now_s)
    if not implausible.any():
        return checks.good
    # A few are slips: a time cut short, 1970 for "never". Most of a column have their own clock.
    if 2 * int(implausible.sum()) <= int(has_time.sum()):
        checks.drop(IssueKind.IMPLAUSIBLE_TIME, implausible, raw.times.__getitem__)
    else:
        checks.report(IssueKind.IMPLAUSIBLE_TIMES, implausible, raw.times.__getitem__)
    return checks.good


def _show_id(ids: IdNumbers) -> Show:
    return lambda row: ids.ids[ids.rows[row]]


def _read_ratings(
    raw: _RawRows, good: Flags, table: Table, issues: Issues
) -> tuple[npt.NDArray[np.float32] | None, str]:
    """Ratings of all rows, NaN where there is none, and how they were read."""
    if raw.ratings is None:
        return None, ""
    detail, slips = "numbers", np.zeros(len(good), dtype=np.bool_)
    values = raw.ratings
    if values.dtype.is_integer() and not values.has_nulls():
        return values.cast(pl.Float32).rechunk().to_numpy(), detail  # all finite
    if values.dtype.is_numeric() or values.dtype.is_decimal():
        numbers = as_floats(values)
    else:
        read = read_numbers(values.cast(pl.String))
        numbers, detail, slips = as_floats(read.values), read.detail, read.is_slip.to_numpy()
    with np.errstate(over="ignore"):
        ratings = numbers.astype(np.float32)
    ratings[np.isinf(ratings)] = np.nan
    checks = RowChecks(table, raw.places, issues)
    checks.report(IssueKind.NO_RATING, good & slips, values.__getitem__)
    return ratings, detail


def _event_types(raw: _RawRows, good: Flags) -> tuple[EventTypes | None, str]:
    """The types of the good rows, and their names for people, the most frequent ones first."""
    if raw.types is None:
        return None, ""
    numbers, names, _ = raw.types.of_rows(good)
    event_types = EventTypes(tuple(names), numbers)
    return event_types, describe_names(event_types.counts())


def _readings(
    table: Table, columns: Mapping[str, str], details: Mapping[str, str]
) -> tuple[ColumnReading, ...]:
    """How each column was read, in the file's order."""
    meanings = {column: meaning for meaning, column in columns.items()}
    readings = []
    for column in table.schema:
        meaning = meanings.get(column, NOT_READ)
        detail = details.get(meaning, "nothing uses it")
        readings.append(
            ColumnReading(table.path.name, column, meaning, _KINDS.get(meaning), detail)
        )
    return tuple(readings)


def _in_order(
    rows: InteractionRows,
    order: npt.NDArray[np.int64],
    timestamps: npt.NDArray[np.float64],
    places: pl.Series,
    table: Table,
    issues: Issues,
) -> InteractionRows:
    """Rows by user and time, without repetitions; what the file's order may mean is reported.

    `order` and the `timestamps` in it are of `sort_by_time`; `places` are in the file's order.
    """
    n_rows = np.bincount(rows.users, minlength=len(rows.user_ids))
    ordered = replace(
        rows,
        users=np.repeat(np.arange(len(n_rows), dtype=np.uint32), n_rows),
        items=rows.items[order],
        timestamps=timestamps,
        ratings=None if rows.ratings is None else rows.ratings[order],
        event_types=None if rows.event_types is None else rows.event_types.take(order),
    )
    starts = _starts(ordered)
    repeated = _find_repeated(ordered, starts)
    if repeated.any():
        examples = [
            f"{table.locate(places[row])}: user {rows.user_ids[rows.users[row]]!r}, "
            f"item {rows.item_ids[rows.items[row]]!r}"
            for row in np.sort(order[repeated])[:MAX_EXAMPLES].tolist()
        ]
        kind = IssueKind.REPEATED_INTERACTION
        issues.add(table.path.name, kind, int(repeated.sum()), examples)
        order, ordered = order[~repeated], ordered.take(~repeated)
        starts = _starts(ordered)
    _report_ties(ordered, order, starts, table, issues)
    return ordered


def _starts(ordered: InteractionRows) -> Flags:
    """Whether a row has another user or time than the one before it, bool [n]."""
    users, timestamps = ordered.users, ordered.timestamps
    changes = (users[1:] != users[:-1]) | (timestamps[1:] != timestamps[:-1])
    return np.concatenate([np.ones(min(len(users), 1), dtype=np.bool_), changes])


def _tied(starts: Flags) -> Flags:
    """Whether a row has the user and time of the one before it or behind it, bool [n]."""
    tied: Flags = ~(starts & np.append(starts[1:], True))
    return tied


def _find_repeated(ordered: InteractionRows, starts: Flags) -> Flags:
    """Whether a row has the user, item, time and type of an earlier one, bool [n]."""
    # Only rows that share user and time can be repetitions, and in most files few do.
    tied = _tied(starts)
    keys = np.cumsum(starts[tied]) * len(ordered.item_ids) + ordered.items[tied]
    if ordered.event_types is not None:  # a view and a purchase are two
        types = ordered.event_types
        keys = keys * len(types.names) + types.numbers[tied]
    repeated = np.zeros(len(starts), dtype=np.bool_)
    repeated[tied] = ~pl.Series(keys).is_first_distinct().to_numpy()
    return repeated


def _report_ties(
    ordered: InteractionRows,
    order: npt.NDArray[np.int64],
    starts: Flags,
    table: Table,
    issues: Issues,
) -> None:
    """Report rows that share user and time, and a file that is newest first.

    `order` are the rows' positions in the file.
    """
    tied = _tied(starts)
    n_tied = int(tied.sum())
    if not n_tied:
        return
    example = f"such as of user {ordered.user_ids[ordered.users[tied.argmax()]]!r:.60}"
    issues.add(table.path.name, IssueKind.TIED, n_tied, [example])
    later = (ordered.users[1:] == ordered.users[:-1]) & starts[1:]
    n_later, n_backwards = int(later.sum()), int((later & (order[1:] < order[:-1])).sum())
    if n_backwards > 1 and n_backwards >= _NEWEST_FIRST_SHARE * n_later:
        issues.add(table.path.name, IssueKind.NEWEST_FIRST, n_backwards)


def _unusable(table: Table, n_rows: int, issues: Issues) -> InputError:
    own = issues.about(table.path.name)
    if not n_rows and not own:
        return InputError(f"{table.path}: has no rows")
    return InputError(f"{table.path}: none of its rows can be used: {own}")
