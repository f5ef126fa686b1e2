"""Unix seconds of calendar dates, as arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.signedinteger]

DAY_S = 86_400


_FIRST_YEAR, _LAST_YEAR = 1, 9999
# Days since 1970 of the first of every month, and of the month behind the last.
_FIRST_DAYS = (
    np.arange((_FIRST_YEAR - 1970) * 12, (_LAST_YEAR + 1 - 1970) * 12 + 1)
    .astype("datetime64[M]")
    .astype("datetime64[D]")
    .astype(np.int64)
)
_SHORTEST_MONTH = 28


def date_seconds(year: Integers, month: Integers, day: Integers) -> Floats:
    """Unix seconds of midnights UTC, float64 [n]; NaN where there is no such date."""
    is_date = day >= 1
    if not (_are_between(year, _FIRST_YEAR, _LAST_YEAR) and _are_between(month, 1, 12)):
        is_month = (month >= 1) & (month <= 12) & (year >= _FIRST_YEAR) & (year <= _LAST_YEAR)
        year, month = np.where(is_month, year, _FIRST_YEAR), np.where(is_month, month, 1)
        is_date &= is_month
    number = (year - _FIRST_YEAR) * 12 + month - 1
    days: Integers = _FIRST_DAYS[number.astype(np.intp, copy=False)] + (day - 1)
    late = np.flatnonzero(day > _SHORTEST_MONTH)
    is_date[late] &= days[late] < _FIRST_DAYS[number[late] + 1]
    seconds = np.multiply(days, float(DAY_S), dtype=np.float64)
    if not is_date.all():
        seconds[~is_date] = np.nan
    return seconds


def _are_between(values: Integers, least: int, most: int) -> bool:
    """Whether all are; the extremes are found much faster than a mask of each."""
    return not len(values) or bool(values.min() >= least and values.max() <= most)


def clock_seconds(hour: Integers, minute: Integers, second: Integers) -> Floats:
    """Seconds since midnight, float64; NaN where there is no such time. 24:00 and :60 exist."""
    whole = (hour * 60 + minute) * 60 + second
    is_time = (hour <= 24) & (minute <= 59) & (second <= 60) & (whole <= DAY_S)
    seconds = whole.astype(np.float64)
    if not is_time.all():
        seconds[~is_time] = np.nan
    return seconds
