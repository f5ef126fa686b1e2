"""Checks ids: selects the usable rows and reports the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from offline.data.issues import MAX_EXAMPLES, IssueKind, Issues
from offline.data.tables import Table

MAX_ID_CHARACTERS = 512
SHOWN_CHARACTERS = 40
# Of ASCII, all of which between these are neither blanks nor control characters.
_FIRST_VISIBLE, _LAST_VISIBLE = ord("!"), ord("~")

Reason = tuple[IssueKind, pl.Expr, str]
"""An issue, its rows, and the column whose value is shown ("" for none)."""


def id_reasons(column: str, missing: IssueKind) -> list[Reason]:
    """The issues of ids in a column of text."""
    value = pl.col(column)
    return [
        # A blank id looks empty, and could not be typed into a request.
        (missing, value.is_null() | (value.str.strip_chars() == ""), ""),
        (IssueKind.CONTROL_CHARACTER, value.str.contains(r"\p{Cc}"), column),
        (IssueKind.LONG_ID, value.str.len_chars() > MAX_ID_CHARACTERS, column),
    ]


def are_inconspicuous(ids: pl.Series) -> bool:
    """Whether none of these ids has an issue, as is seen at once where all are plain ASCII.

    `ids` has no nulls. False says nothing.
    """
    n_bytes = ids.str.len_bytes()
    if not n_bytes.is_between(1, MAX_ID_CHARACTERS).all():
        return False
    content = np.frombuffer(ids.str.join().item().encode(), dtype=np.uint8)
    is_plain = content - np.uint8(_FIRST_VISIBLE) <= _LAST_VISIBLE - _FIRST_VISIBLE
    return bool(is_plain.all())


def drop_bad_rows(
    frame: pl.DataFrame, reasons: Sequence[Reason], table: Table, issues: Issues
) -> pl.DataFrame:
    """Rows without an issue; each other row is reported under its first one.

    `frame` has a column `place` besides those that are checked.
    """
    for kind, speaks_against, shown in reasons:
        is_bad = frame.select(speaks_against.fill_null(value=False)).to_series()
        if is_bad.any():
            bad = frame.filter(is_bad)
            issues.add(table.path.name, kind, bad.height, _examples(bad, shown, table))
            frame = frame.filter(~is_bad)
    return frame


def shorten(value: object) -> object:
    """A value for a message: of a long text its beginning."""
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS:
        return value[:SHOWN_CHARACTERS] + "…"
    return value


def _examples(bad: pl.DataFrame, shown: str, table: Table) -> list[str]:
    return [
        table.locate(row["place"]) + (f": {shorten(row[shown])!r}" if shown else "")
        for row in bad.head(MAX_EXAMPLES).rows(named=True)
    ]
