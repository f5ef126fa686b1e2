"""Checks of rows: which are used, and an issue about each other one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from offline.data.id_checks import shorten
from offline.data.issues import MAX_EXAMPLES, IssueKind, Issues
from offline.data.tables import Table

Flags = npt.NDArray[np.bool_]
Show = Callable[[int], object]
"""The value of a row, for a message."""


class RowChecks:
    """Rows without an issue so far; each other row is reported under its first one.

    Attributes:
        good: bool [n], rows that are used.
    """

    def __init__(self, table: Table, places: pl.Series, issues: Issues) -> None:
        self.good: Flags = np.ones(len(places), dtype=np.bool_)
        self._table, self._places, self._issues = table, places, issues

    def drop(self, kind: IssueKind, bad: Flags, show: Show | None = None) -> None:
        """Report and drop those of the bad rows that are still good."""
        self.report(kind, bad, show)
        self.good &= ~bad

    def report(self, kind: IssueKind, bad: Flags, show: Show | None = None) -> None:
        """Report those of the bad rows that are still good, and keep them."""
        found = np.flatnonzero(self.good & bad)
        examples = [self._example(int(row), show) for row in found[:MAX_EXAMPLES]]
        self._issues.add(self._table.path.name, kind, len(found), examples)

    def _example(self, row: int, show: Show | None) -> str:
        place = self._table.locate(self._places[row])
        return place if show is None else f"{place}: {shorten(show(row))!r}"
