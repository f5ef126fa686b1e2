"""Times that are numbers: counts of seconds or days, or dates written as digits.

A number says nothing about its unit. The unit that makes most of a column plausible, that is
between 1980 and tomorrow, is the column's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from offline.data.kinds.calendar import DAY_S, Floats, clock_seconds, date_seconds

FIRST_PLAUSIBLE_S = 315_532_800.0
"""1980-01-01, before which hardly anyone stored interactions."""
# Larger numbers are not seconds any more (1e11 s is the year 5138) but ms, µs, ns since 1970.
SCALES = ((1e17, 1e9, "nanoseconds"), (1e14, 1e6, "microseconds"), (1e11, 1e3, "milliseconds"))
# Spreadsheets count days from here, so that their 1900 may have a 29 February.
_SPREADSHEET_EPOCH_DAYS = 25_569
# The unit is found from at most this many numbers, from all over the column.
_MAX_TRIED = 20_000


@dataclass(frozen=True)
class Unit:
    """A way to write times as numbers.

    Attributes:
        detail: a few words for people.
        to_seconds: unix seconds, float64 [n], of numbers; NaN where there is no such time.
        min_share: of the numbers that must be plausible. Rows that are numbered from 0 could be
            days for the most part, so these need nearly all.
    """

    detail: str
    to_seconds: Callable[[Floats], Floats]
    min_share: float = 0.5


def are_plausible(seconds: Floats, now_s: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether times lie between 1980 and tomorrow; clocks and zones differ by less than a day."""
    return (seconds >= FIRST_PLAUSIBLE_S) & (seconds <= now_s + DAY_S)


def find_unit(numbers: Floats, now_s: float) -> Unit:
    """The unit that makes most of these numbers plausible times.

    Seconds since 1970, or a power of 1,000 of their parts, where none makes enough of them so.
    """
    is_missing = np.isnan(numbers)
    given = numbers[~is_missing] if is_missing.any() else numbers
    given = given[:: len(given) // _MAX_TRIED + 1]
    best, most = UNITS[0], 0.0
    for unit in UNITS:
        share = float(are_plausible(unit.to_seconds(given), now_s).mean()) if len(given) else 0.0
        if share >= unit.min_share and share > most:
            best, most = unit, share
    if best is UNITS[0]:
        return Unit(f"{_scale_of(given)} since 1970", best.to_seconds)
    if best is _DIGITS and len(given) and np.median(given) >= _FIRST_WITH_CLOCK:
        return _DIGITS_WITH_CLOCK
    return best


def _scale_of(numbers: Floats) -> str:
    """Name of the part of a second that most of these numbers count."""
    middle = float(np.median(np.abs(numbers))) if len(numbers) else 0.0
    return next((name for start, _, name in SCALES if middle >= start), "seconds")


def _from_unix(numbers: Floats) -> Floats:
    largest = max(np.fmax.reduce(numbers, initial=0.0), -np.fmin.reduce(numbers, initial=0.0))
    if largest < SCALES[-1][0]:
        return numbers
    size = np.abs(numbers)
    per_s = np.select([size >= start for start, _, _ in SCALES], [n for _, n, _ in SCALES], 1.0)
    seconds: Floats = numbers / per_s
    return seconds


def _from_digits(numbers: Floats) -> Floats:
    """YYYYMMDD, with HHMM, HHMMSS, HHMMSSmmm or HHMMSS.f behind it."""
    whole = np.where((numbers >= 1e7) & (numbers < 1e17), numbers, 0).astype(np.int64)
    n_digits = np.where(whole > 0, np.floor(np.log10(np.maximum(whole, 1))).astype(np.int64) + 1, 0)
    # All become YYYYMMDDHHMMSSmmm, 17 digits; other lengths are no dates.
    missing = np.select([n_digits == n for n in (8, 12, 14, 17)], [9, 5, 3, 0], -1)
    digits = whole * 10 ** np.maximum(missing, 0)
    parts = []
    for size in (3, 2, 2, 2, 2, 2):
        parts.append(digits % 10**size)
        digits = digits // 10**size
    millisecond, second, minute, hour, day, month = parts
    seconds = date_seconds(digits, month, day) + clock_seconds(hour, minute, second)
    fraction = numbers - whole
    is_date = (missing >= 0) & ((fraction == 0) | (missing == 3))
    return np.where(is_date, seconds + millisecond / 1000.0 + fraction, np.nan)


def _from_hours(numbers: Floats) -> Floats:
    """YYYYMMDDHH."""
    is_hour = (numbers >= 1e9) & (numbers < 1e10)
    return _from_digits(np.where(is_hour, numbers * 100, np.nan))


def _from_spreadsheet_days(numbers: Floats) -> Floats:
    return np.round((numbers - _SPREADSHEET_EPOCH_DAYS) * DAY_S, 3)


def _from_unix_days(numbers: Floats) -> Floats:
    return np.round(numbers * DAY_S, 3)


# As digits, YYYYMMDDHHMM is above, YYYYMMDD below.
_FIRST_WITH_CLOCK = 1e11
_DIGITS = Unit("YYYYMMDD as digits, taken as UTC", _from_digits)
_DIGITS_WITH_CLOCK = Unit("YYYYMMDDHHMMSS as digits, taken as UTC", _from_digits)

UNITS = (
    Unit("seconds since 1970", _from_unix),
    _DIGITS,
    Unit("YYYYMMDDHH as digits, taken as UTC", _from_hours),
    Unit("days since 1900 as spreadsheets count them, taken as UTC", _from_spreadsheet_days, 0.95),
    Unit("days since 1970, taken as UTC", _from_unix_days, 0.95),
)
