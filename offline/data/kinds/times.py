"""Times of interactions: the layout of a column is found from its content."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import polars as pl

from offline.data.kinds.calendar import Floats
from offline.data.kinds.numbers import are_blank, as_floats
from offline.data.kinds.time_counts import are_plausible, find_unit
from offline.data.kinds.time_shapes import AlikeTimes, DateOrder, ShapedTexts, shaped_texts
from offline.data.kinds.time_spellings import respelled


class AmbiguousDatesError(ValueError):
    """Nothing in a column tells the day from the month."""


@dataclass(frozen=True)
class ReadTimes:
    """A column of times.

    Attributes:
        seconds: unix seconds, float64 [n]; NaN where there is no readable time.
        detail: how they were read, for people.
        warning: a choice that the content doesn't prove; "" where there is none.
    """

    seconds: Floats
    detail: str
    warning: str = ""


def read_times(
    values: pl.Series,
    *,
    day_first: bool | None = None,
    now_s: float | None = None,
    alike: AlikeTimes | None = None,
) -> ReadTimes:
    """Unix seconds of dates, counts since 1970 or of days, and texts with dates.

    A time without a zone is UTC.

    Args:
        values: a column of numbers, dates or text.
        day_first: whether in "01/02/2019" the day is first; None: find it from the column.
        now_s: later times are not plausible; None: the clock's.
        alike: has read the values already, in parts.

    Raises:
        AmbiguousDatesError: the day can't be told from the month; the message has both readings.
    """
    now_s = time.time() if now_s is None else now_s
    if isinstance(values.dtype, pl.Datetime | pl.Date):
        return _read_typed(values)
    if isinstance(values.dtype, pl.Categorical | pl.Enum):
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        if alike is None:
            alike = AlikeTimes()
            alike.add(values)
        return _read_texts(values, alike, day_first, now_s)
    numbers = _finite(as_floats(values))
    unit = find_unit(numbers, now_s)
    return ReadTimes(unit.to_seconds(numbers), unit.detail)


def _read_typed(values: pl.Series) -> ReadTimes:
    microseconds = values.cast(pl.Datetime("us")).dt.timestamp("us")
    detail = "dates without times of day" if values.dtype == pl.Date else "dates and times"
    zone = getattr(values.dtype, "time_zone", None)
    return ReadTimes((microseconds / 1e6).to_numpy(), f"{detail}, {zone or 'taken as UTC'}")


def _read_texts(
    values: pl.Series, alike: AlikeTimes, day_first: bool | None, now_s: float
) -> ReadTimes:
    read = alike.result()
    if read is not None and not np.isnan(read[1]).any():
        shape, seconds = read
        return ReadTimes(seconds, shape.describe(order="DMY"))
    times = _read_as_spelled(values, day_first, now_s)
    left = np.flatnonzero(np.isnan(times.seconds) & ~are_blank(values).to_numpy())
    # A number that is no time in the column's unit is none in another one.
    left = left[values.gather(left).str.strip_chars().cast(pl.Float64, strict=False).is_null()]
    if not len(left):
        return times
    others = _read_as_spelled(respelled(values.gather(left)), day_first, now_s)
    n_others = len(left) - int(np.isnan(others.seconds).sum())
    if not n_others:
        return times
    times.seconds[left] = others.seconds
    details = [(len(values) - len(left), times.detail), (n_others, others.detail)]
    shown = [detail for n, detail in sorted(details, reverse=True) if n and detail]
    warning = "; ".join(filter(None, (times.warning, others.warning)))
    return ReadTimes(times.seconds, " or ".join(dict.fromkeys(shown)), warning)


def _read_as_spelled(values: pl.Series, day_first: bool | None, now_s: float) -> ReadTimes:
    cast = values.str.strip_chars().cast(pl.Float64, strict=False)
    numbers = _finite(as_floats(cast))
    unit = find_unit(numbers, now_s)
    seconds = unit.to_seconds(numbers)
    if not cast.has_nulls():
        return ReadTimes(seconds, unit.detail)
    is_text = np.isnan(numbers)
    texts = values if is_text.all() else values.set(pl.Series(~is_text), None)
    groups = [group for group in shaped_texts(texts) if len(group.rows)]
    order, warning = _settle_order(groups, values, day_first, now_s)
    for group in groups:
        seconds[group.rows] = group.seconds(order=order)
    details = [] if is_text.all() else [(int((~is_text).sum()), unit.detail)]
    if groups:
        largest = max(groups, key=lambda group: len(group.rows))
        shown = largest.shape.describe(order=order)
        details.append((sum(len(group.rows) for group in groups), shown))
    details.sort(reverse=True)
    return ReadTimes(seconds, " or ".join(detail for _, detail in details), warning)


def _finite(numbers: Floats) -> Floats:
    """The numbers, those that are infinite replaced by NaN in place."""
    is_infinite = np.isinf(numbers)
    if is_infinite.any():
        numbers[is_infinite] = np.nan
    return numbers


def _settle_order(
    groups: list[ShapedTexts], values: pl.Series, asked: bool | None, now_s: float
) -> tuple[DateOrder, str]:
    """The order of day, month and year, and a warning if only custom says so.

    Raises:
        AmbiguousDatesError: every pair could be either.
    """
    groups = [group for group in groups if group.shape.day_and_month]
    if asked is not None or not groups:
        return ("DMY" if asked else "MDY"), ""
    if _begin_with_year(groups, now_s):
        return "YMD", ""
    first = np.concatenate([group.part("a") for group in groups])
    second = np.concatenate([group.part("b") for group in groups])
    n_day_first, n_month_first = int((first > 12).sum()), int((second > 12).sum())
    if n_day_first or n_month_first:
        return ("DMY" if n_day_first >= n_month_first else "MDY"), ""
    rows = np.concatenate([group.rows for group in groups])
    differing = np.flatnonzero(first != second)
    if not len(differing):
        return "DMY", ""
    at = int(differing[0])
    example = f"{str(values[int(rows[at])]).strip()!r}"
    day_first = f"{int(first[at])} {_MONTH_NAMES[int(second[at]) - 1]}"
    month_first = f"{int(second[at])} {_MONTH_NAMES[int(first[at]) - 1]}"
    if all(group.shape.separator == "." for group in groups):
        return "DMY", f"{example} is taken as {day_first}, as is usual with dots, not {month_first}"
    raise AmbiguousDatesError(
        f"{example} can be {day_first} or {month_first}, and no row settles which"
    )


def _begin_with_year(groups: list[ShapedTexts], now_s: float) -> bool:
    """Whether 19-10-31 is of 2019: with the year first, all are plausible, and not otherwise."""
    short = [group for group in groups if group.shape.may_begin_with_year]

    def share(order: DateOrder) -> float:
        seconds = np.concatenate([group.seconds(order=order) for group in short])
        return float(are_plausible(seconds, now_s).mean())

    return bool(short) and share("YMD") == 1.0 > max(share("DMY"), share("MDY"))


_MONTH_NAMES = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)

__all__ = ["AmbiguousDatesError", "ReadTimes", "are_plausible", "read_times"]
