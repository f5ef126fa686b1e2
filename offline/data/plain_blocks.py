"""Blocks of separated text in which each line is a whole row: polars alone takes these apart.

polars fills up short rows, and says nothing of long ones unless it reads all columns. So it reads
all of them, and the separators are counted: if no row is too long and there are as many separators
as whole rows have, none is too short. Where fields stand in quotes, the bytes are counted: if there
are as many rows as lines, and their texts, one byte behind each and all quotes take up the block,
then each quote encloses a field, and no row is short. Blocks with quotes within fields, with blank
lines or broken rows are left to the index of records.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

# Of a block's first lines, which show what columns may hold integers.
SAMPLED_LINES = 50
# Longer ones may not fit into 64 bits.
MAX_DIGITS = 18
# To check fewer of a block's columns takes longer than to read them as text.
_MIN_INTEGERS_SHARE = 0.25
# Beside integers in quotes, texts are searched for quotes, which takes longer than to cast texts.
_MIN_QUOTED_INTEGERS_SHARE = 0.5
_CACHED_BYTES = 1 << 17
_QUOTE = b'"'


@dataclass(frozen=True)
class PlainForm:
    """How lines are written: the separator and the line break are one byte each."""

    columns: tuple[str, ...]
    separator: str
    line_break: bytes


def read_plain(
    text: bytes, form: PlainForm, *, quoted: bool, with_integers: bool
) -> pl.DataFrame | None:
    """A row for each line, all columns as text; None where not every line is a whole row.

    Args:
        text: whole lines.
        form: of the lines.
        quoted: whether fields may stand in quotes; if not, a quote is a letter.
        with_integers: whether columns whose every text is the plain decimal digits of an integer
            come as Int64.
    """
    if len(form.columns) < 2 or text.startswith(b"\xef\xbb\xbf"):
        return None  # polars takes this for a byte order mark
    if not text.endswith(form.line_break):  # polars takes a long row without one for a whole one
        text += form.line_break
    n_quotes = count_byte(text, _QUOTE) if quoted else 0
    integers = _find_integers(text, form, quoted=n_quotes > 0) if with_integers else []
    for as_integers in (integers, []) if integers else ([],):
        frame = _parse(text, form, as_integers, has_quotes=n_quotes > 0)
        if frame is not None and _is_whole(frame, text, form, n_quotes):
            return frame
    return None


def count_byte(text: bytes, byte: bytes) -> int:
    """How often a byte stands in a text; several times faster than `bytes.count`."""
    content = np.frombuffer(text, dtype=np.uint8)
    return sum(
        int(np.count_nonzero(content[start : start + _CACHED_BYTES] == byte[0]))
        for start in range(0, len(content), _CACHED_BYTES)
    )


def _parse(
    text: bytes, form: PlainForm, integers: list[str], *, has_quotes: bool
) -> pl.DataFrame | None:
    try:
        frame = pl.read_csv(
            text,
            has_header=False,
            schema={c: pl.Int64 if c in integers else pl.String for c in form.columns},
            separator=form.separator,
            quote_char=_QUOTE.decode() if has_quotes else None,
            eol_char=form.line_break.decode(),
        )
    except pl.exceptions.PolarsError:  # a long row, a text among integers, a stray quote
        return None
    return with_empty_texts(frame)


def with_empty_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Empty texts in place of nulls.

    polars does the same for `empty_string_is_null=False`, and then takes half as long again, though
    most columns have no null.
    """
    texts = [c.name for c in frame.get_columns() if c.dtype == pl.String and c.has_nulls()]
    return frame.with_columns(pl.col(texts).fill_null("")) if texts else frame


def _find_integers(text: bytes, form: PlainForm, *, quoted: bool) -> list[str]:
    """Columns whose texts in the first lines are all plain digits."""
    end = 0
    for _ in range(SAMPLED_LINES):
        end = text.find(form.line_break, end) + 1
        if not end:
            break
    lines = (text[:end] if end else text).rstrip(b"\r\n").split(form.line_break)
    rows = [line.rstrip(b"\r").split(form.separator.encode()) for line in lines]
    whole = [row for row in rows if len(row) == len(form.columns)]
    integers = [
        column
        for column, fields in zip(form.columns, zip(*whole, strict=True), strict=False)
        if all(_is_plain(field, quoted=quoted) for field in fields)
    ]
    min_share = _MIN_QUOTED_INTEGERS_SHARE if quoted else _MIN_INTEGERS_SHARE
    return integers if len(integers) >= min_share * len(form.columns) else []


def _is_plain(field: bytes, *, quoted: bool) -> bool:
    if quoted and field[:1] == field[-1:] == _QUOTE:
        field = field[1:-1]
    is_short = len(field) <= MAX_DIGITS
    return is_short and field.isdigit() and (field == b"0" or not field.startswith(b"0"))


def _is_whole(frame: pl.DataFrame, text: bytes, form: PlainForm, n_quotes: int) -> bool:
    """Whether each line is a whole row, and each integer stood there as its plain digits."""
    has_integers = pl.Int64 in frame.dtypes
    if (n_quotes or has_integers) and not _is_exact(frame, text, form, n_quotes):
        return False
    if n_quotes:
        return count_byte(text, form.line_break) == frame.height
    if frame.dtypes[-1] == pl.Int64:  # without a null, as a short row would have one
        return True
    n_separators = count_byte(text, form.separator.encode())
    return n_separators == frame.height * (len(form.columns) - 1)


def _is_exact(frame: pl.DataFrame, text: bytes, form: PlainForm, n_quotes: int) -> bool:
    """Whether fields, separators, line breaks and enclosing quotes take up all of the block.

    The plain digits of an integer are its shortest text, so that no other one stood there, unless
    bytes are missing elsewhere: a separator, or a quote that is counted although it is left in a
    text. Of the quotes polars leaves out none but those around a field, and one of two within.
    """
    if n_quotes and pl.Int64 in frame.dtypes and not _misses_nothing(frame):
        return False
    n_bytes = len(text) - frame.height * len(form.columns) - n_quotes
    if b"\r" in text and form.line_break == b"\n":
        n_returns = text.count(b"\r\n")
        if n_returns != frame.height or n_returns != text.count(b"\r"):
            return False
        n_bytes -= n_returns
    for column in frame.get_columns():
        if column.dtype == pl.Int64:
            least, most = column.min(), column.max()
            if column.has_nulls() or least < 0:  # type: ignore[operator]
                return False
            n_bytes -= _count_digits(column, len(str(least)), len(str(most)))
        else:
            n_bytes -= int(column.str.len_bytes().sum())
    return n_bytes == 0


def _misses_nothing(frame: pl.DataFrame) -> bool:
    """Whether no row is short, as it would have a null at the end, and no quote is left."""
    if frame.dtypes[-1] != pl.Int64:
        return False
    texts = [column for column in frame.get_columns() if column.dtype == pl.String]
    return not any(column.str.contains('"', literal=True).any() for column in texts)


def _count_digits(integers: pl.Series, fewest: int, most: int) -> int:
    """How many digits all of these have together, each `fewest` to `most` of them."""
    values = integers.to_numpy()
    longer = (np.count_nonzero(values >= 10**n_digits) for n_digits in range(fewest, most))
    return fewest * len(values) + sum(map(int, longer))
