"""Finds the columns of a table by their meaning, and reads their values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl

from model_store.errors import InputError
from offline.data.tables import Table

USER_ID, ITEM_ID, TIMESTAMP, RATING, TITLE = "user_id", "item_id", "timestamp", "rating", "title"

# Other common names of columns, without case and punctuation, best first.
ALIASES: dict[str, tuple[str, ...]] = {
    USER_ID: ("userid", "user", "uid"),
    ITEM_ID: ("itemid", "item", "iid", "movieid", "movie", "productid", "product"),
    TIMESTAMP: ("timestamp", "ts", "time", "datetime", "date"),
    RATING: ("rating", "ratings", "stars", "score"),
    TITLE: ("title", "movietitle", "producttitle", "name"),
}

# Larger figures are not seconds any more (1e11 s is the year 5138) but ms, µs, ns since 1970.
SCALES = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def find_columns(
    table: Table, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, str]:
    """Names in the table by meaning.

    Raises:
        InputError: a required column is missing, or two columns could be the same one.
    """
    found = {}
    for meaning in (*required, *optional):
        name = _find_column(table, meaning)
        if name is not None:
            found[meaning] = name
        elif meaning in required:
            raise InputError(
                f"{table.path}: no column {meaning!r} (its columns: {', '.join(table.schema)})"
            )
    return found


def _find_column(table: Table, meaning: str) -> str | None:
    if meaning in table.schema:
        return meaning
    for alias in ALIASES[meaning]:
        names = [name for name in table.schema if re.sub(r"[\W_]", "", name).lower() == alias]
        if len(names) > 1:
            raise InputError(
                f"{table.path}: both {names[0]!r} and {names[1]!r} could be {meaning!r}"
            )
        if names:
            return names[0]
    return None


def check_types(table: Table, columns: Mapping[str, str]) -> None:
    """Reject columns whose type can't hold their meaning, before any row is read.

    Raises:
        InputError: a type doesn't fit; the message names the column and its type.
    """
    for meaning, name in columns.items():
        dtype = table.schema[name]
        is_value = dtype.is_integer() or dtype.is_float() or dtype.is_decimal()
        is_value = is_value or isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null)
        if meaning == TIMESTAMP:
            is_value = is_value or isinstance(dtype, pl.Datetime | pl.Date)
        if not is_value:
            raise InputError(
                f"{table.path}: column {name!r} of type {dtype} can't hold a {meaning}"
            )


def as_ids(values: pl.Series) -> pl.Series:
    """Ids as text, exactly as they stand; whole numbers become their decimal digits."""
    if not values.dtype.is_float():
        return values.cast(pl.String)
    # Integer columns with gaps arrive as floats from some writers: 7.0 means item 7.
    whole = values.cast(pl.Int64, strict=False)
    is_whole = (whole.cast(values.dtype) == values).fill_null(value=False)
    return values.cast(pl.String).zip_with(~is_whole, whole.cast(pl.String))


def as_numbers(values: pl.Series) -> pl.Series:
    """Finite float64 numbers; null where there is none."""
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    numbers = values.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(value=True), None)


def as_unix_s(values: pl.Series) -> pl.Series:
    """Unix seconds, float64, of unix times in s to ns, dates, or ISO 8601 text (UTC if it has no
    zone); null where it is none of these.
    """
    if isinstance(values.dtype, pl.Datetime | pl.Date):
        return values.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6
    if isinstance(values.dtype, pl.Categorical | pl.Enum):
        values = values.cast(pl.String)
    # numpy divides exactly, where polars multiplies by a rounded reciprocal.
    numbers = as_numbers(values).to_numpy()
    scale = np.select(
        [abs(numbers) >= start for start, _ in SCALES], [per_s for _, per_s in SCALES], 1
    )
    seconds = pl.Series(numbers / scale, dtype=pl.Float64, nan_to_null=True)
    if values.dtype == pl.String and seconds.has_nulls():
        texts = values.filter(seconds.is_null()).to_list()
        seconds = seconds.scatter(
            seconds.is_null().arg_true(), pl.Series([_iso_8601(t) for t in texts], dtype=pl.Float64)
        )
    return seconds


def _iso_8601(text: str | None) -> float | None:
    """Unix seconds of one date or time, None where it is no ISO 8601."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
