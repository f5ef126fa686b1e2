"""One table in several files: a folder of parts, as Spark and others write it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from model_store.errors import InputError
from offline.data.issues import Issues
from offline.data.tables import Batch, Table


@dataclass(frozen=True)
class Part:
    """A file of the table, and columns that its folder's names give: `day=2019-10-01`."""

    table: Table
    given: Mapping[str, str | None]

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Columns of the file, then those of its folder."""
        return {**dict.fromkeys(self.given, pl.String()), **self.table.schema}


class PartsTable:
    """Files of the same columns, read one after another.

    Rows are counted through all parts; `locate` names the part and the row in it.

    Raises:
        InputError: a part has other columns than the first.
    """

    def __init__(self, path: Path, parts: Sequence[Part]) -> None:
        self.path = path
        self._parts = tuple(parts)
        self._ends: list[int] = []
        first = self._parts[0]
        for part in self._parts[1:]:
            odd = sorted(part.schema.keys() ^ first.schema.keys())
            if odd:
                raise InputError(
                    f"{path}: {self._name(part)} and {self._name(first)} are no parts of one "
                    f"table: only one of them has a column {odd[0]!r}"
                )
        self.schema: dict[str, pl.DataType] = {
            name: _common_type([part.schema[name] for part in self._parts]) for name in first.schema
        }

    @property
    def description(self) -> str:
        """How many parts there are, and the first one's form."""
        return f"{len(self._parts)} files: {self._parts[0].table.description}"

    def locate(self, place: int) -> str:
        """The part, and the place in it."""
        number = bisect_right(self._ends, place - 1)
        start = self._ends[number - 1] if number else 0
        part = self._parts[number]
        return f"{self._name(part)} {part.table.locate(place - start)}"

    def batches(self, columns: Sequence[str], issues: Issues) -> Iterator[Batch]:
        """Rows with these columns, part by part."""
        self._ends.clear()
        start = 0
        for part in self._parts:
            stored = [name for name in columns if name in part.table.schema]
            given = {name: part.given[name] for name in columns if name not in stored}
            end, own_issues = start, Issues()
            for batch in part.table.batches(stored, own_issues):
                frame = batch.frame.with_columns(
                    pl.lit(value, dtype=pl.String).alias(name) for name, value in given.items()
                ).select(pl.col(name).cast(self.schema[name]) for name in columns)
                yield Batch(frame, batch.places + start)
                end = start + (batch.places[-1] if len(batch.places) else end - start)
            for issue in own_issues:
                examples = [f"{self._name(part)} {example}" for example in issue.examples]
                issues.add(self.path.name, issue.kind, issue.count, examples)
            start = end
            self._ends.append(end)

    def _name(self, part: Part) -> str:
        path = part.table.path
        return str(path.relative_to(self.path)) if path.is_relative_to(self.path) else path.name


def _common_type(types: Sequence[pl.DataType]) -> pl.DataType:
    """The type that the columns of all parts can be cast to; a part without values has Null."""
    known = list(dict.fromkeys(dtype for dtype in types if dtype != pl.Null))
    if len(known) < 2:
        return known[0] if known else types[0]
    if all(dtype.is_integer() for dtype in known):
        return pl.Int64()
    if all(dtype.is_numeric() for dtype in known):
        return pl.Float64()
    if all(isinstance(dtype, pl.Datetime | pl.Date) for dtype in known):
        return pl.Datetime("us", "UTC" if any(_has_zone(dtype) for dtype in known) else None)
    return pl.String()


def _has_zone(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
