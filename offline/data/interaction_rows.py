"""Rows of interactions as arrays: read, validated, in file order, without repetitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from model_store.errors import InputError
from offline.data.columns import (
    ITEM_ID,
    RATING,
    TIMESTAMP,
    USER_ID,
    as_ids,
    as_numbers,
    as_unix_s,
)
from offline.data.id_checks import Reason, drop_bad_rows, id_reasons
from offline.data.issues import MAX_EXAMPLES, IssueKind, Issues
from offline.data.tables import Batch, Table


@dataclass(frozen=True)
class InteractionRows:
    """Good rows in file order; ids are numbered from 0 by first appearance."""

    user_ids: list[str]
    item_ids: list[str]
    users: npt.NDArray[np.uint32]
    items: npt.NDArray[np.uint32]
    timestamps: npt.NDArray[np.float64]
    ratings: npt.NDArray[np.float32] | None
    places: npt.NDArray[np.uint32]


@dataclass
class _Numbering:
    """Numbers ids by first appearance, over all batches of a table."""

    numbers: dict[str, int] = field(default_factory=dict)

    def encode(self, ids: pl.Series) -> pl.Series:
        different = ids.unique(maintain_order=True)
        numbers = [self.numbers.setdefault(i, len(self.numbers)) for i in different.to_list()]
        return ids.replace_strict(different, pl.Series(numbers, dtype=pl.UInt32))


def read_interaction_rows(
    table: Table, columns: Mapping[str, str], issues: Issues
) -> InteractionRows:
    """Read all rows; `columns` are the table's names for user_id, item_id, timestamp and rating.

    Raises:
        InputError: the table has no row that can be used.
    """
    user_numbering, item_numbering = _Numbering(), _Numbering()
    parts = []
    n_rows = 0
    for batch in table.batches(list(columns.values()), issues):
        n_rows += batch.frame.height
        good = _drop_bad(_parse(batch, columns), RATING in columns, table, issues)
        parts.append(
            good.with_columns(
                user_numbering.encode(good[USER_ID]), item_numbering.encode(good[ITEM_ID])
            )
        )
    rows = pl.concat(parts) if parts else pl.DataFrame()
    if rows.is_empty():
        raise _unusable(table, n_rows, issues)
    rows = _drop_repeated(rows, user_numbering, item_numbering, table, issues)
    return InteractionRows(
        user_ids=list(user_numbering.numbers),
        item_ids=list(item_numbering.numbers),
        users=rows[USER_ID].to_numpy(),
        items=rows[ITEM_ID].to_numpy(),
        timestamps=rows[TIMESTAMP].to_numpy(),
        ratings=rows[RATING].to_numpy() if RATING in columns else None,
        places=rows["place"].to_numpy(),
    )


def _parse(batch: Batch, columns: Mapping[str, str]) -> pl.DataFrame:
    raw = batch.frame
    given_time = raw[columns[TIMESTAMP]]
    parsed = {
        "place": batch.places,
        USER_ID: as_ids(raw[columns[USER_ID]]),
        ITEM_ID: as_ids(raw[columns[ITEM_ID]]),
        TIMESTAMP: as_unix_s(given_time),
        "given timestamp": given_time.cast(pl.String),
    }
    if RATING in columns:
        given_rating = raw[columns[RATING]]
        parsed["given rating"] = given_rating.cast(pl.String)
        parsed[RATING] = as_numbers(given_rating).cast(pl.Float32)
    return pl.DataFrame(parsed)


def _drop_bad(frame: pl.DataFrame, has_ratings: bool, table: Table, issues: Issues) -> pl.DataFrame:
    time, given_time = pl.col(TIMESTAMP), pl.col("given timestamp")
    is_blank = given_time.is_null() | (given_time.str.strip_chars() == "")
    reasons: list[Reason] = [
        *id_reasons(USER_ID, IssueKind.MISSING_USER),
        *id_reasons(ITEM_ID, IssueKind.MISSING_ITEM),
        (IssueKind.MISSING_TIMESTAMP, is_blank, ""),
        (IssueKind.BAD_TIMESTAMP, time.is_null(), "given timestamp"),
    ]
    if has_ratings:
        is_bad = pl.col(RATING).is_null() | ~pl.col(RATING).is_finite()
        reasons.append((IssueKind.BAD_RATING, is_bad, "given rating"))
    kept = [USER_ID, ITEM_ID, TIMESTAMP, *([RATING] if has_ratings else []), "place"]
    return drop_bad_rows(frame, reasons, table, issues).select(kept)


def _drop_repeated(
    rows: pl.DataFrame,
    user_numbering: _Numbering,
    item_numbering: _Numbering,
    table: Table,
    issues: Issues,
) -> pl.DataFrame:
    """The first of the rows with the same user, item and timestamp."""
    is_first = rows.select(pl.struct(USER_ID, ITEM_ID, TIMESTAMP).is_first_distinct()).to_series()
    repeated = rows.filter(~is_first)
    if repeated.is_empty():
        return rows
    user_ids, item_ids = list(user_numbering.numbers), list(item_numbering.numbers)
    examples = [
        f"{table.place_name} {row['place']}: user {user_ids[row[USER_ID]]!r}, "
        f"item {item_ids[row[ITEM_ID]]!r}"
        for row in repeated.head(MAX_EXAMPLES).rows(named=True)
    ]
    kind = IssueKind.REPEATED_INTERACTION
    issues.add(table.path.name, kind, repeated.height, examples)
    return rows.filter(is_first)


def _unusable(table: Table, n_rows: int, issues: Issues) -> InputError:
    own = issues.about(table.path.name)
    if not n_rows and not own:
        return InputError(f"{table.path}: has no rows")
    return InputError(f"{table.path}: none of its rows can be used: {own}")
