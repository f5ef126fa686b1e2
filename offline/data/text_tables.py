"""Tables of text: each row is one line, or several lines where quoted fields hold line breaks.

Two readers share the work. A file without quotes is parsed by polars, tens of millions of rows a
minute. A file with quotes goes through the standard library's reader, which is slower and knows the
first line of a row even where quoted fields hold line breaks. Both give exact line numbers.
"""

from __future__ import annotations

import csv
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import polars as pl

from model_store.errors import InputError
from offline.data.issues import IssueKind, Issues
from offline.data.tables import Batch, first_line, progress_on

SEPARATORS = (",", ";", "\t")
BLOCK_BYTES = 16 << 20
QUOTED_BATCH_ROWS = 100_000
UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
SNIFFED_BYTES = 1 << 16


@dataclass(frozen=True)
class TextTable:
    """A text file of separated fields; created by `open_csv` or `open_headless`."""

    path: Path
    columns: tuple[str, ...]
    separator: str
    quoted: bool
    has_header: bool
    encoding: str = "utf-8"

    place_name = "line"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Columns in file order; all are text."""
        return dict.fromkeys(self.columns, pl.String())

    def batches(self, columns: Sequence[str], issues: Issues) -> Iterator[Batch]:
        """Rows with these columns, in file order; blank lines are no rows.

        Raises:
            InputError: the text isn't in its encoding, or a quote is never closed.
        """
        positions = [self.columns.index(column) for column in columns]
        read = self._quoted_batches if self.quoted else self._plain_batches
        with (
            self.path.open("rb") as file,
            progress_on(self.path, self.path.stat().st_size, "B") as progress,
        ):
            done_bytes = skip_bom(file)
            for batch in read(file, positions, issues):
                yield batch
                if progress:
                    progress.advance(file.tell() - done_bytes)
                    done_bytes = file.tell()

    def _plain_batches(
        self, file: BinaryIO, positions: Sequence[int], issues: Issues
    ) -> Iterator[Batch]:
        first_place = 1
        for block in _whole_lines(file):
            lines = pl.DataFrame({"text": [self._decode(block, first_place)]})
            lines = lines.select(pl.col("text").str.split("\n").explode()).with_row_index(
                "place", offset=first_place
            )
            next_place = first_place + lines.height
            if self.has_header and first_place == 1:
                lines = lines.slice(1)
            yield self._split_lines(lines, positions, issues)
            first_place = next_place

    def _split_lines(self, lines: pl.DataFrame, positions: Sequence[int], issues: Issues) -> Batch:
        text = pl.col("text")
        lines = lines.with_columns(text.str.strip_suffix("\r")).filter(text.str.len_bytes() > 0)
        n_separators = text.str.count_matches(self.separator, literal=True)
        is_whole = n_separators == len(self.columns) - 1
        broken = lines.filter(~is_whole).select("place", n_separators + 1)
        self._report_field_counts(broken.rows(), issues)
        lines = lines.filter(is_whole)
        fields = lines["text"].str.split_exact(self.separator, len(self.columns) - 1).struct
        frame = pl.DataFrame(
            {self.columns[p]: fields.field(f"field_{p}") for p in positions},
            schema={self.columns[p]: pl.String for p in positions},
        )
        return Batch(frame, lines["place"])

    def _quoted_batches(
        self, file: BinaryIO, positions: Sequence[int], issues: Issues
    ) -> Iterator[Batch]:
        places: list[int] = []
        rows: list[list[str]] = []
        for place, row in self._quoted_rows(file, issues):
            if len(row) != len(self.columns):
                self._report_field_counts([(place, len(row))], issues)
                continue
            places.append(place)
            rows.append(row)
            if len(rows) == QUOTED_BATCH_ROWS:
                yield self._batch_of(rows, places, positions)
                places, rows = [], []
        yield self._batch_of(rows, places, positions)

    def _quoted_rows(self, file: BinaryIO, issues: Issues) -> Iterator[tuple[int, list[str]]]:
        lines = (self._decode(line, place) for place, line in enumerate(file, start=1))
        reader = csv.reader(lines, delimiter=self.separator, strict=True)
        while True:
            place = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "unexpected end" in str(error) or "field limit" in str(error):
                    raise InputError(
                        f"{self.path}: line {place}: a quote is opened and never closed"
                    ) from error
                issues.add(self.path.name, IssueKind.BAD_QUOTE, 1, [f"line {place}"])
                continue
            if row and not (self.has_header and place == 1):
                yield place, row

    def _batch_of(
        self, rows: Sequence[Sequence[str]], places: Sequence[int], positions: Sequence[int]
    ) -> Batch:
        frame = pl.DataFrame(
            {self.columns[p]: [row[p] for row in rows] for p in positions},
            schema={self.columns[p]: pl.String for p in positions},
        )
        return Batch(frame, pl.Series("place", places, dtype=pl.UInt32))

    def _report_field_counts(self, broken: Sequence[tuple[int, int]], issues: Issues) -> None:
        examples = [
            f"line {place}: {n} fields instead of {len(self.columns)}" for place, n in broken[:3]
        ]
        issues.add(self.path.name, IssueKind.FIELD_COUNT, len(broken), examples)

    def _decode(self, block: bytes, first_place: int) -> str:
        try:
            return block.decode(self.encoding)
        except UnicodeDecodeError as error:
            place = first_place + block.count(b"\n", 0, error.start)
            raise InputError(
                f"{self.path}: line {place} is not {self.encoding.upper()} text; save it as UTF-8"
            ) from error


def open_csv(path: Path, separator: str | None = None, *, quoted: bool | None = None) -> TextTable:
    """Open a text table with a header; separator and encoding are detected if not given.

    Raises:
        InputError: the file is empty, no UTF-8 text, or its header is no list of different names.
    """
    header = _first_line_of(path, "utf-8")
    if separator is None:
        separator = max(SEPARATORS, key=header.count)
    if quoted is None:
        quoted = _holds_quote(path)
    try:
        names = next(csv.reader([header], delimiter=separator, strict=True)) if quoted else None
    except csv.Error as error:
        raise InputError(f"{path}: line 1 is no header ({first_line(error)})") from error
    columns = tuple(name.strip() for name in names or header.split(separator))
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the header names {twice[0]!r} twice")
    return TextTable(path, columns, separator, quoted=quoted, has_header=True)


def open_headless(
    path: Path, columns: Sequence[str], separator: str, encodings: Sequence[str] = ("utf-8",)
) -> TextTable:
    """Open a text table without header or quotes, in the first of `encodings` that fits it all.

    Raises:
        InputError: the file is empty or no text, or its first line has other fields.
    """
    encoding = encodings[0]
    if len(encodings) > 1:
        encoding = next(e for e in encodings if _is_encoded(path, e))
    n_fields = len(_first_line_of(path, encoding).split(separator))
    if n_fields != len(columns):
        raise InputError(
            f"{path}: line 1 has {n_fields} fields between {separator!r}, "
            f"expected {len(columns)}: {', '.join(columns)}"
        )
    return TextTable(
        path, tuple(columns), separator, quoted=False, has_header=False, encoding=encoding
    )


def skip_bom(file: BinaryIO) -> int:
    """Skip a UTF-8 byte order mark, if there is one; returns the position."""
    if file.read(len(UTF8_BOM)) != UTF8_BOM:
        file.seek(0)
    return file.tell()


def _first_line_of(path: Path, encoding: str) -> str:
    """The first line, if the file's beginning is text at all."""
    with path.open("rb") as file:
        if file.read(2) in UTF16_BOMS:
            raise InputError(f"{path}: is UTF-16 text; save it as UTF-8")
        file.seek(0)
        skip_bom(file)
        beginning = file.read(SNIFFED_BYTES)
    if not beginning.strip():
        raise InputError(f"{path}: is empty")
    if b"\0" in beginning:
        raise InputError(f"{path}: is not a table (it holds zero bytes, so it is no text)")
    try:
        return beginning.split(b"\n", 1)[0].rstrip(b"\r").decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: line 1 is not {encoding.upper()} text; save it as UTF-8"
        ) from error


def _holds_quote(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b'"') >= 0


def _is_encoded(path: Path, encoding: str) -> bool:
    try:
        with path.open(encoding=encoding) as file:
            return all(True for _ in file)
    except UnicodeDecodeError:
        return False


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Blocks that end where a line ends, each without its last line break."""
    rest = b""
    while block := file.read(BLOCK_BYTES):
        lines, line_break, tail = block.rpartition(b"\n")
        if line_break:
            yield rest + lines
            rest = tail
        else:
            rest += tail
    if rest:
        yield rest
