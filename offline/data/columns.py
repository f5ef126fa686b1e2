"""Finds the columns of a table by their meaning, and checks their types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl

from model_store.errors import InputError
from offline.data.tables import Table

USER_ID, ITEM_ID, TIMESTAMP, RATING, TITLE = "user_id", "item_id", "timestamp", "rating", "title"
EVENT_TYPE = "event_type"

# Other common names of columns, without case and punctuation, best first.
ALIASES: dict[str, tuple[str, ...]] = {
    USER_ID: (
        *("userid", "user", "uid", "visitorid", "customerid", "memberid", "accountid"),
        *("clientid", "userpseudoid", "reviewerid"),
    ),
    ITEM_ID: (
        *("itemid", "item", "iid", "movieid", "movie", "productid", "product"),
        *("articleid", "asin", "isbn", "trackid", "songid", "bookid", "contentid"),
    ),
    TIMESTAMP: (
        *("timestamp", "ts", "datetime", "date", "time", "createdat", "eventtime"),
        *("eventtimestamp", "eventdate", "orderdate", "purchasedate", "unixreviewtime"),
    ),
    RATING: ("rating", "ratings", "stars", "score"),
    EVENT_TYPE: ("eventtype", "eventname", "event", "action", "behaviortype", "behaviour"),
    TITLE: ("title", "movietitle", "producttitle", "name"),
}


class MissingColumnsError(InputError):
    """A table lacks columns; `meanings` are those of all that it lacks."""

    def __init__(self, table: Table, meanings: Sequence[str]) -> None:
        self.meanings = tuple(meanings)
        lacking = ", no ".join(map(repr, meanings))
        own = ", ".join(table.schema)
        super().__init__(f"{table.path}: no column {lacking} (its columns: {own})")


def find_columns(
    table: Table, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, str]:
    """Names in the table by meaning.

    Raises:
        MissingColumnsError: required columns are missing.
        InputError: two columns could be the same one.
    """
    names = {meaning: _find_column(table, meaning) for meaning in (*required, *optional)}
    found = {meaning: name for meaning, name in names.items() if name is not None}
    missing = [meaning for meaning in required if meaning not in found]
    if missing:
        raise MissingColumnsError(table, missing)
    return found


def _find_column(table: Table, meaning: str) -> str | None:
    if meaning in table.schema:
        return meaning
    for alias in ALIASES[meaning]:
        names = [name for name in table.schema if _bare(name) == alias]
        if len(names) > 1:
            raise InputError(
                f"{table.path}: both {names[0]!r} and {names[1]!r} could be {meaning!r}"
            )
        if names:
            return names[0]
    return None


def _bare(name: str) -> str:
    """A name without case and punctuation, and without a unit in brackets: "Time (UTC)"."""
    without_unit = re.sub(r"(?<=\w)\s*[(\[][^)\]]*[)\]]\s*$", "", name)
    return re.sub(r"[\W_]", "", without_unit).lower()


def check_types(table: Table, columns: Mapping[str, str]) -> None:
    """Reject columns whose type can't hold their meaning, before any row is read.

    Raises:
        InputError: a type doesn't fit; the message names the column and its type.
    """
    for meaning, name in columns.items():
        if not can_hold(table.schema[name], meaning):
            raise InputError(
                f"{table.path}: column {name!r} of type {table.schema[name]} can't hold a {meaning}"
            )


def can_hold(dtype: pl.DataType, meaning: str) -> bool:
    """Whether a column of a type can have a meaning."""
    is_value = dtype.is_integer() or dtype.is_float() or dtype.is_decimal()
    is_value = is_value or isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null)
    return is_value or (meaning == TIMESTAMP and isinstance(dtype, pl.Datetime | pl.Date))
