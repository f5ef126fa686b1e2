"""Where the records of a block of separated text begin and end, found without taking it apart.

polars parses text faster than anything here could, but it doesn't tell on which line a row stood,
fills up short rows and cuts long ones. So a block is indexed first, with numpy; polars then gets
those records alone that have the right number of fields.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.data.bits import (
    Words,
    after,
    any_bit,
    before,
    has_bit,
    odd_up_to,
    pack_bits,
    set_bit,
    unpack_bits,
)

QUOTE, RETURN = ord('"'), ord("\r")

Int64 = npt.NDArray[np.int64]
_NO_BITS: Words = np.zeros(0, dtype=np.uint64)


@dataclass(frozen=True)
class RecordIndex:
    """The complete records of a block, R of them, blank lines left out.

    starts, ends: int64 [R], positions in the block; an end is that of the line break.
    lines: int64 [R], line of each record, counted from 0 at the block's beginning.
    n_fields: int64 [R].
    n_bytes, n_lines: up to the last record's end, line break included.
    has_quotes: whether a field stands in quotes. is_folded: whether one holds a line break.
    encloses_separators: whether one holds a separator.
    """

    starts: Int64
    ends: Int64
    lines: Int64
    n_fields: Int64
    n_bytes: int
    n_lines: int
    has_quotes: bool
    is_folded: bool
    encloses_separators: bool


def index_records(
    block: bytes, separator: bytes, line_break: bytes, *, quoted: bool, is_last: bool
) -> RecordIndex | None:
    """The records of a block that begins with one.

    Args:
        block: the text.
        separator, line_break: one byte each.
        quoted: whether fields may stand in quotes; if not, a quote is a letter.
        is_last: whether the file ends with the block; if not, a record without a line break waits
            for the next block.

    Returns:
        None where a quote stands elsewhere than at the beginning or end of a field, or where one
        isn't closed: then it isn't clear where records end.
    """
    data = np.frombuffer(block, dtype=np.uint8)
    is_separator, is_break = data == separator[0], data == line_break[0]
    inside = None
    breaks_as_bits = separators_as_bits = _NO_BITS
    if quoted and b'"' in block:
        quotes = pack_bits(data == QUOTE)
        inside = odd_up_to(quotes)
        breaks_as_bits, separators_as_bits = pack_bits(is_break), pack_bits(is_separator)
        returns = pack_bits(data == RETURN) & before(breaks_as_bits) if b"\r" in block else None
        borders = quotes | separators_as_bits | breaks_as_bits
        is_open_at_end = has_bit(inside, len(data) - 1)
        if (is_last and is_open_at_end) or not _are_at_ends(
            quotes, inside, borders, returns, len(data)
        ):
            return None
        is_break = unpack_bits(breaks_as_bits & ~inside, len(data))
    breaks = np.flatnonzero(is_break)
    if is_last and len(data) and (not len(breaks) or breaks[-1] + 1 < len(data)):
        breaks = np.append(breaks, len(data))
    if not len(breaks):
        return RecordIndex(breaks, breaks, breaks, breaks, 0, 0, False, False, False)
    ends = breaks
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    n_bytes = min(int(ends[-1]) + 1, len(data))
    has_quotes = encloses_separators = is_folded = False
    lines, n_lines = np.arange(len(ends)), len(ends)
    if inside is not None:
        has_quotes = block.find(b'"', 0, n_bytes) >= 0
        encloses_separators = any_bit(separators_as_bits & inside, n_bytes)
        if encloses_separators:
            is_separator = unpack_bits(separators_as_bits & ~inside, len(data))
        is_folded = any_bit(breaks_as_bits & inside, n_bytes)
        if is_folded:
            all_breaks = np.flatnonzero(unpack_bits(breaks_as_bits, len(data)))
            lines = np.searchsorted(all_breaks, starts)
            n_lines = int(np.searchsorted(all_breaks, ends[-1])) + 1
    n_fields = _count_fields(np.flatnonzero(is_separator[:n_bytes]), starts, ends)
    filled = ends > starts
    if line_break == b"\n" and b"\r" in block:
        filled &= ~((ends == starts + 1) & (data[np.minimum(starts, len(data) - 1)] == RETURN))
    if not filled.all():
        starts, ends, lines, n_fields = (a[filled] for a in (starts, ends, lines, n_fields))
    return RecordIndex(
        starts, ends, lines, n_fields, n_bytes, n_lines, has_quotes, is_folded, encloses_separators
    )


def _are_at_ends(
    quotes: Words, inside: Words, borders: Words, returns: Words | None, n_bytes: int
) -> bool:
    """Whether each quote opens or closes a field, or is one of the two that stand for one."""
    follows_border = after(borders)
    follows_border[0] |= np.uint64(1)
    if (quotes & inside & ~follows_border).any():
        return False
    precedes_border = before(borders if returns is None else borders | returns)
    set_bit(precedes_border, n_bytes - 1)
    return not (quotes & ~inside & ~precedes_border).any()


def _count_fields(separators: Int64, starts: Int64, ends: Int64) -> Int64:
    """Number of fields of each record."""
    n = len(separators) // len(ends)
    if n and n * len(ends) == len(separators):
        # If each record's share of the separators lies within it, all have the same number.
        by_record = separators.reshape(len(ends), n)
        if (by_record[:, 0] >= starts).all() and (by_record[:, -1] < ends).all():
            return np.full(len(ends), n + 1)
    before = np.searchsorted(separators, np.append(starts, ends[-1]))
    return np.diff(before) + 1
