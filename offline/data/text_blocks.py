"""Takes the blocks of a text file apart into rows.

polars parses a block at once where each line is a whole row (`plain_blocks.py`), else when an index
of its records has shown which of them are whole (`record_index.py`). Blocks whose quotes break the
rules are taken apart line by line (`lenient_records.py`). In any case each row knows its line, and
each line that gives no row is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from offline.data.issues import MAX_EXAMPLES, IssueKind, Issues
from offline.data.lenient_records import LenientReader, LenientRows, wrong_count
from offline.data.plain_blocks import PlainForm, count_byte, read_plain, with_empty_texts
from offline.data.quoted_fields import FieldGrammar
from offline.data.record_index import RecordIndex, index_records
from offline.data.swallowed_rows import holds_rows
from offline.data.tables import Batch
from offline.data.text_form import TextForm, decode_line

# Of one record, its line breaks included; an open quote is searched for its end no further.
MAX_RECORD_BYTES = 64 << 20
# Stands for a separator of several characters, which neither polars nor the index knows.
ONE_BYTE_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class BlockRows:
    """The rows of a block.

    Attributes:
        frame: their columns, as text or Int64 (`read_plain`).
        lines: int64, the line of each, counted from 0 at the block's beginning.
        issues: kind, line, and what to add to the line, of each line with one.
        n_lines: of the block.
        encloses: whether they prove that the file puts fields in quotes.
    """

    frame: pl.DataFrame
    lines: npt.NDArray[np.int64]
    issues: Sequence[tuple[IssueKind, int, str]]
    n_lines: int
    encloses: bool = False

    def reported(self, issues: Issues, file: str, first_line: int) -> Batch:
        """The rows with their lines in the file, once the issues are counted.

        `first_line` is the block's first line in the file.
        """
        for kind in dict.fromkeys(kind for kind, _, _ in self.issues):
            own = [(line, note) for k, line, note in self.issues if k is kind]
            examples = [
                f"line {first_line + line}" + (f": {note}" if note else "")
                for line, note in own[:MAX_EXAMPLES]
            ]
            issues.add(file, kind, len(own), examples)
        places = (self.lines + first_line).astype(np.uint32)
        return Batch(self.frame, pl.Series("place", places))


class TooLongLineError(Exception):
    """A line is longer than a line should be; the message says how long."""


Work = Callable[[], BlockRows | None]
"""What is left to do for a block's rows; None where the block is to be taken anew."""


class BlockReader:
    """Takes blocks apart, one after another.

    Args:
        form: of the file.
        columns: to read.
        with_integers: whether columns of a block may come as Int64 (`read_plain`).
    """

    def __init__(
        self, form: TextForm, columns: Sequence[str], *, with_integers: bool = False
    ) -> None:
        self._form = form
        self._columns = list(columns)
        self._positions = [form.columns.index(column) for column in columns]
        self._n_fields = len(form.columns)
        self._separator = form.separator if len(form.separator) == 1 else ONE_BYTE_SEPARATOR
        self._plain_form = PlainForm(form.columns, self._separator, form.line_break)
        self._may_be_plain, self._with_integers = True, with_integers
        self._encloses = form.encloses

    def take(self, text: bytes, *, is_last: bool) -> tuple[Work, int]:
        """What is left to do for a block's rows, and how many of its bytes they use up.

        What is left may run in another thread, several blocks at a time; its results are to be
        settled in the file's order. It raises TooLongLineError where the block has no line break
        and is larger than a line should be.
        """
        has_long_separator = len(self._form.separator) > 1
        if not is_last and (has_long_separator or len(text) > MAX_RECORD_BYTES):
            n_bytes = text.rfind(self._form.line_break) + 1
            if not n_bytes:
                size = f"{len(text) / (1 << 20):.0f} MiB"
                return lambda: _reject(f"is longer than {size}"), len(text)
            text, is_last = text[:n_bytes], True
        n_bytes = len(text)
        if has_long_separator:
            separator = self._form.separator.encode()
            text = text.replace(separator, ONE_BYTE_SEPARATOR.encode())
        is_quoted = self._form.quoted and b'"' in text
        take = self._take_quoted if is_quoted else self._take_unquoted
        work, n_used = take(text, is_last=is_last)
        return work, n_bytes if is_last else n_used

    def settle(self, rows: BlockRows | None) -> None:
        """Learn from the rows of a block before any block behind it that has quotes is taken.

        None: this block and all that were taken since are to be taken anew.
        """
        if rows is None:
            self._may_be_plain = False  # what failed in one block costs its time in each
        else:
            self._encloses |= rows.encloses

    def _take_unquoted(self, text: bytes, *, is_last: bool) -> tuple[Work, int]:
        """A block in which each line break ends a record."""
        n_bytes = len(text) if is_last else text.rfind(self._form.line_break) + 1
        text, lenient = text[:n_bytes], self._lenient_reader()
        return lambda: self._parse_unquoted(text, lenient), n_bytes

    def _parse_unquoted(self, text: bytes, lenient: LenientReader) -> BlockRows:
        frame = self._read_plain(text, quoted=False)
        if frame is not None:
            return _of_lines(frame)
        separator, line_break = self._separator.encode(), self._form.line_break
        index = index_records(text, separator, line_break, quoted=False, is_last=True)
        if index is None or self._hides_line_breaks(text, index):
            rows, _ = _read_leniently(lenient, text, line_break, is_last=True)
            return self._of_lenient(rows)
        return self._parse(text, index, lenient)

    def _read_plain(self, text: bytes, *, quoted: bool) -> pl.DataFrame | None:
        frame = read_plain(text, self._plain_form, quoted=quoted, with_integers=self._with_integers)
        if frame is None:
            return None
        self._with_integers &= pl.Int64 in frame.dtypes
        return frame.select(self._columns)

    def _take_quoted(self, text: bytes, *, is_last: bool) -> tuple[Work, int]:
        n_bytes = len(text) if is_last else text.rfind(self._form.line_break) + 1
        if not (self._may_be_plain and n_bytes):
            return self._take_folded(text, is_last=is_last)
        whole = text[:n_bytes]
        return lambda: self._parse_quoted(whole), n_bytes

    def _parse_quoted(self, text: bytes) -> BlockRows | None:
        frame = self._read_plain(text, quoted=True)
        if frame is None:  # its last line break may stand within a field
            return None
        return replace(_of_lines(frame), encloses=self._shows_quoting(text, frame.height))

    def _shows_quoting(self, text: bytes, n_rows: int) -> bool:
        """Whether quotes in whole rows prove that the file puts fields in quotes."""
        if self._separator != "\t":
            return True
        return count_byte(text, b"\t") > n_rows * (self._n_fields - 1)

    def _take_folded(self, text: bytes, *, is_last: bool) -> tuple[Work, int]:
        """A block with fields in quotes that may hold line breaks, or quotes as letters."""
        separator, line_break = self._separator.encode(), self._form.line_break
        index = index_records(text, separator, line_break, quoted=True, is_last=is_last)
        # A field with a line break may as well be two rows with a stray quote each.
        is_sure = index is not None and (not index.is_folded or self._encloses)
        if index is None or not is_sure or self._hides_line_breaks(text, index):
            lenient = self._lenient_reader()
            rows, n_bytes = _read_leniently(lenient, text, line_break, is_last=is_last)
            self._encloses = lenient.encloses
            return lambda: self._of_lenient(rows), n_bytes
        is_proof = index.encloses_separators if self._separator == "\t" else index.has_quotes
        self._encloses |= is_proof and bool((index.n_fields == self._n_fields).all())
        lenient = self._lenient_reader()
        return lambda: self._parse(text, index, lenient), index.n_bytes

    def _lenient_reader(self) -> LenientReader:
        return LenientReader(
            self._separator, self._n_fields, quoted=self._form.quoted, encloses=self._encloses
        )

    def _hides_line_breaks(self, text: bytes, index: RecordIndex) -> bool:
        """Whether a record is too long since old line breaks stand in it."""
        is_long = index.n_fields > self._n_fields
        if self._form.line_break != b"\n" or b"\r" not in text or not is_long.any():
            return False
        spans = zip(index.starts[is_long].tolist(), index.ends[is_long].tolist(), strict=True)
        return any(b"\r" in text[start : end - 1] for start, end in spans)

    def _parse(self, text: bytes, index: RecordIndex, lenient: LenientReader) -> BlockRows:
        """The whole records of a block; all others are issues."""
        is_whole = index.n_fields == self._n_fields
        frame = self._parse_whole(text, index, is_whole)
        if frame is None:
            whole = text[: index.n_bytes]
            rows, _ = _read_leniently(lenient, whole, self._form.line_break, is_last=True)
            return self._of_lenient(rows)
        lines, counts = index.lines[~is_whole].tolist(), index.n_fields[~is_whole].tolist()
        issues = [
            (IssueKind.FIELD_COUNT, line, wrong_count(count, self._n_fields))
            for line, count in zip(lines, counts, strict=True)
        ]
        if index.is_folded:
            issues += self._rows_in_fields(text, index, is_whole)
        return BlockRows(frame, index.lines[is_whole], issues, index.n_lines)

    def _rows_in_fields(
        self, text: bytes, index: RecordIndex, is_whole: npt.NDArray[np.bool_]
    ) -> list[tuple[IssueKind, int, str]]:
        """The records over several lines, some of which look like rows of their own."""
        grammar, line_break = FieldGrammar(self._separator), self._form.line_break
        may_be_folded = np.diff(np.append(index.lines, index.n_lines)) > 1
        issues = []
        for record in np.flatnonzero(is_whole & may_be_folded).tolist():
            content = text[index.starts[record] : index.ends[record]].removesuffix(b"\r")
            _, *following = (line.removesuffix(b"\r") for line in content.split(line_break))
            # No text is decoded for most of them.
            n_separators = self._n_fields - 1
            if all(line.count(self._separator.encode()) != n_separators for line in following):
                continue
            fields = grammar.split(content.decode()) or []
            if holds_rows(fields, [line.decode() for line in following], self._separator):
                note = f"goes on over {len(following) + 1} lines"
                issues.append((IssueKind.ROWS_IN_FIELD, int(index.lines[record]), note))
        return issues

    def _parse_whole(
        self, text: bytes, index: RecordIndex, is_whole: npt.NDArray[np.bool_]
    ) -> pl.DataFrame | None:
        """The whole records; None where polars sees something else in them."""
        if is_whole.all():
            text = text[: index.n_bytes]
        else:
            spans = zip(index.starts[is_whole].tolist(), index.ends[is_whole].tolist(), strict=True)
            text = self._form.line_break.join(text[start:end] for start, end in spans)
        n_rows = int(is_whole.sum())
        if not n_rows:
            return self._frame([])
        if text.startswith(b"\xef\xbb\xbf"):  # polars would take it for a byte order mark
            return None
        try:
            frame = pl.read_csv(
                text,
                has_header=False,
                columns=self._positions,
                separator=self._separator,
                quote_char='"' if index.has_quotes else None,
                eol_char=self._form.line_break.decode(),
                infer_schema=False,
            )
        except pl.exceptions.PolarsError:  # not UTF-8
            return None
        if frame.height != n_rows:
            return None
        columns = with_empty_texts(frame).get_columns()
        return pl.DataFrame(dict(zip(self._columns, columns, strict=True)))

    def _of_lenient(self, rows: LenientRows) -> BlockRows:
        lines = np.array(rows.lines, dtype=np.int64)
        return BlockRows(self._frame(rows.rows), lines, rows.issues, rows.n_lines)

    def _frame(self, rows: Sequence[Sequence[str]]) -> pl.DataFrame:
        return pl.DataFrame(
            {
                column: [row[position] for row in rows]
                for column, position in zip(self._columns, self._positions, strict=True)
            },
            schema=dict.fromkeys(self._columns, pl.String()),
        )


def _reject(reason: str) -> BlockRows:
    raise TooLongLineError(reason)


def _of_lines(frame: pl.DataFrame) -> BlockRows:
    """The rows of a block in which each line is one."""
    return BlockRows(frame, np.arange(frame.height), [], frame.height)


def _read_leniently(
    reader: LenientReader, text: bytes, line_break: bytes, *, is_last: bool
) -> tuple[LenientRows, int]:
    """Rows of a block line by line, and how many bytes they use up."""
    raw = text.split(line_break)
    if not (is_last and raw[-1]):
        raw.pop()  # empty, or it goes on in the next block
    decoded = [decode_line(line) for line in raw]
    rows = reader.read([line.removesuffix("\r") for line, _ in decoded], is_last=is_last)
    rows.issues[:0] = [
        (IssueKind.NOT_UTF8, line, "")
        for line, (_, is_utf8) in enumerate(decoded[: rows.n_lines])
        if not is_utf8
    ]
    n_bytes = sum(len(line) + 1 for line in raw[: rows.n_lines])
    return rows, min(n_bytes, len(text))
