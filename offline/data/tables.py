"""Tables on disk, read in batches with the place of every row, so that bad rows can be named.

A table is Parquet (`ParquetTable`), text (`offline/data/text_tables.py`), or one of these seen
through a function (`ReshapedTable`), which is how MovieLens and RecBole files become plain ones.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from model_store.errors import InputError
from offline.data.byte_streams import ByteStream, packing_of, read_all, without_packing
from offline.data.issues import Issues
from offline.data.quiet_panics import quiet_panics
from offline.progress import Progress

BATCH_ROWS = 500_000
# Smaller files are read in well under two seconds; a progress line for them would be noise.
SHOW_PROGRESS_BYTES = 32 << 20
PARQUET_MAGIC = b"PAR1"
# A damaged file may make polars panic, which is no Exception.
PARQUET_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True)
class Batch:
    """Some rows of a table; `places[r]` (UInt32) is where row r stands in the file, from 1."""

    frame: pl.DataFrame
    places: pl.Series


class Table(Protocol):
    """A file of rows under named columns."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def description(self) -> str:
        """The file's form in words, such as "semicolons between fields"."""

    def locate(self, place: int) -> str:
        """One of `places` in words: "line 7" of a text, "row 7" of Parquet."""

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Columns in file order and their types; String for all of a text's."""

    def batches(self, columns: Sequence[str], issues: Issues) -> Iterator[Batch]:
        """Rows with these columns, in file order; unreadable rows are reported as issues.

        Raises:
            InputError: the file turns out to be unreadable.
        """


class ParquetTable:
    """A Parquet file.

    Raises:
        InputError: the file isn't one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._source = path if packing_of(path) is None else io.BytesIO(read_all(path))
        try:
            with quiet_panics():
                self.schema: dict[str, pl.DataType] = dict(pl.read_parquet_schema(self._source))
        except PARQUET_ERRORS as error:
            raise InputError(
                f"{path}: not a readable Parquet file ({first_line(error)})"
            ) from error

    @property
    def description(self) -> str:
        """The form in words."""
        return ", ".join(filter(None, ["Parquet", packing_of(self.path)]))

    def locate(self, place: int) -> str:
        """Rows are counted from 1."""
        return f"row {place}"

    def batches(self, columns: Sequence[str], issues: Issues) -> Iterator[Batch]:  # noqa: ARG002 - Parquet has no rows that can't be taken apart
        """Rows with these columns, in file order."""
        scan = pl.scan_parquet(self._source, glob=False)
        try:
            n_rows = _collect(scan.select(pl.len())).item()
            with progress_on(self.path, n_rows, "rows") as progress:
                for start in range(0, n_rows, BATCH_ROWS):
                    frame = _collect(scan.slice(start, BATCH_ROWS).select(columns))
                    last = start + frame.height
                    yield Batch(
                        frame, pl.int_range(start + 1, last + 1, dtype=pl.UInt32, eager=True)
                    )
                    if progress:
                        progress.advance(frame.height)
        except PARQUET_ERRORS as error:
            raise InputError(f"{self.path}: can't be read ({first_line(error)})") from error


def _collect(scan: pl.LazyFrame) -> pl.DataFrame:
    with quiet_panics():
        return scan.collect()


@dataclass(frozen=True)
class ReshapedTable:
    """A table seen through `reshape`, which turns its whole rows into rows of `schema`."""

    inner: Table
    schema: dict[str, pl.DataType]
    reshape: Callable[[pl.DataFrame], pl.DataFrame]

    @property
    def path(self) -> Path:
        """The file."""
        return self.inner.path

    @property
    def description(self) -> str:
        """As the inner table says."""
        return self.inner.description

    def locate(self, place: int) -> str:
        """As the inner table does."""
        return self.inner.locate(place)

    def batches(self, columns: Sequence[str], issues: Issues) -> Iterator[Batch]:
        """Rows with these columns, in file order."""
        for batch in self.inner.batches(list(self.inner.schema), issues):
            yield Batch(self.reshape(batch.frame).select(columns), batch.places)


def progress_on(path: Path, total: int, unit: str) -> AbstractContextManager[Progress | None]:
    """Progress of reading a file, None where the file is too small for it."""
    if path.stat().st_size < SHOW_PROGRESS_BYTES:
        return nullcontext()
    return Progress(f"reading {path.name}", total, unit)


def is_parquet(path: Path) -> bool:
    """Whether a file, unpacked, is Parquet by its first bytes, or claims to be by its name."""
    with ByteStream(path) as stream:
        is_marked = stream.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
    return is_marked or without_packing(path.name).lower().endswith((".parquet", ".pq"))


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error) or type(error).__name__).strip().splitlines()[0]
