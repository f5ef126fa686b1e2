"""Finds out how a text file writes its table: encoding, line breaks, separator, header."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from model_store.errors import InputError
from offline.data.byte_streams import ByteStream, packing_by, packing_of
from offline.data.quoted_fields import FieldGrammar

SEPARATORS = (",", ";", "\t", "|")
# Where none of these stands in the header: Hive's, two that banks like, and the blank.
RARE_SEPARATORS = ("\x01", "^", "~", " ")
SAMPLED_BYTES = 1 << 18
SAMPLED_LINES = 200
# A last column without a name is no column if hardly any row has it, and the reverse.
MIN_SHARE_OF_ROWS = 0.9
MAX_FOLDED_LINES = 20
MAX_HEADER_LINES = 20
MIN_LINES_BELOW_TITLE, MIN_SHARE_BELOW_TITLE = 2, 0.7

# UTF-32 first: its mark in little-endian order begins with that of UTF-16.
WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What tables are also kept in, by first bytes, but is not read here.
OTHER_FORMS = (
    (rb"SQLite format 3\0", "an SQLite database"),
    (rb"ARROW1", "an Arrow (Feather) file"),
    (rb"ORC", "an ORC file"),
    (rb"Obj\x01", "an Avro file"),
    (rb"\x89HDF", "an HDF5 file"),
    (rb"\xd0\xcf\x11\xe0", "an old Office document"),
    (rb"\x80[\x02-\x05]", "a pickle"),
    (rb"%PDF", "a PDF"),
    (rb"(?s:.{257})ustar", "a tar archive; unpack it and name a file"),
    (rb"7z\xbc\xaf|Rar!", "an archive; unpack it and name a file"),
    (rb"\x04\x22\x4d\x18|\xff\x06\x00\x00sNaPpY|\x5d\x00\x00", "packed in a form not read here"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture"),
    (rb"version https:/{2}git-lfs", "a pointer of Git LFS; fetch the file itself (git lfs pull)"),
    (rb"(?i:insert\s+into|create\s+table|--\s+\w+ dump)\b", "SQL"),
    (rb"(?:\xef\xbb\xbf)?\s*(?:\{|\[\s*[\[{]|\[\s*\"[^\]]*\]\s*\Z)", "JSON"),
    (rb"(?:\xef\xbb\xbf)?\s*<(?i:!|\?xml|[a-z]+[\s>])", "HTML or XML"),
)
# Line that Excel reads the separator from.
EXCEL_SEPARATOR = re.compile(r"\s*\"?sep=(.)\"?\s*", re.IGNORECASE)
NAME = re.compile(r"\s*\"?[^\W\d][^\"]*\"?\s*")
ENCLOSED_ON_LINE = r'"[^"\n\r]*+(?:""[^"\n\r]*+)*+"'


@dataclass(frozen=True)
class TextForm:
    """How a file writes its table.

    Attributes:
        columns: names in file order, no two the same; of a file without a header, "1", "2" …
        unnamed: those of them that the header gives no name.
        repeated: names that the header gives to several columns; all but the first of these are
            in `columns` with their number.
        separator: between fields.
        line_break: one byte; a line feed stands for the two of Windows too.
        encoding: of the file; None for UTF-8.
        header_bytes, header_lines: what comes before the first row, as UTF-8.
        quoted: whether fields may stand in quotes.
        padded: whether a blank stands behind each separator, which is no part of the fields.
        encloses: whether a field does, as far as the beginning of the file shows.
    """

    columns: tuple[str, ...]
    unnamed: frozenset[str]
    repeated: frozenset[str]
    separator: str
    line_break: bytes
    encoding: str | None
    header_bytes: int
    header_lines: int
    quoted: bool
    padded: bool
    encloses: bool


def find_form(
    path: Path, *, has_header: bool = True, separator: str | None = None, quoted: bool = True
) -> TextForm:
    """Find a file's form from its beginning, a quarter of a megabyte.

    Args:
        path: the file.
        has_header: whether its first line names the columns.
        separator: the separator, if it is known.
        quoted: whether fields may stand in quotes.

    Raises:
        InputError: the file is empty or no table of text.
    """
    beginning, encoding = _read_beginning(path)
    line_break = find_line_break(beginning)
    n_mark = len(codecs.BOM_UTF8) if beginning.startswith(codecs.BOM_UTF8) else 0
    raw = beginning[n_mark:].split(line_break)
    if len(beginning) == SAMPLED_BYTES and len(raw) > 1:
        raw.pop()  # the sample ends within it
    lines = _decode_lines(raw, line_break)
    first, found_separator = _skip_to_table(path, lines, has_header=has_header)
    separator = separator or found_separator or find_separator(lines[first:][:SAMPLED_LINES])
    grammar = FieldGrammar(separator)
    is_padded = quoted and _is_padded(lines[first:][:SAMPLED_LINES], separator)
    if has_header:
        names, first = _take_header(path, lines, first, grammar, quoted=quoted)
    else:
        fields = (quoted and grammar.split(lines[first])) or lines[first].split(separator)
        names = [str(number + 1) for number in range(len(fields))]
    columns, unnamed, repeated = _unique_names(names)
    return TextForm(
        columns,
        unnamed,
        repeated,
        separator,
        line_break,
        encoding,
        header_bytes=n_mark + sum(len(line) + len(line_break) for line in raw[:first]),
        header_lines=first,
        quoted=quoted,
        padded=is_padded,
        encloses=quoted
        and any(_encloses(line, grammar, len(columns)) for line in lines[first:] if '"' in line),
    )


def find_separator(lines: Sequence[str]) -> str:
    """The separator that most lines have as often as the first one; the comma where none has."""
    lines = [line for line in lines if line.strip()]
    for n_lines in range(1, min(len(lines), MAX_FOLDED_LINES) + 1):
        first = "\n".join(lines[:n_lines])
        if first.count('"') % 2 == 0:  # a name may hold a line break
            lines = [first.replace("\n", " "), *lines[n_lines:]]
            break
    bare = [re.sub(ENCLOSED_ON_LINE, "", line) for line in lines]

    def fit(separator: str) -> tuple[float, int]:
        n_first = bare[0].count(separator)
        n_same = sum(line.count(separator) == n_first for line in bare)
        return (n_same / len(bare), n_first) if n_first else (0.0, 0)

    best = max(SEPARATORS, key=fit)
    return best if fit(best)[1] else max((best, *RARE_SEPARATORS), key=fit)


def find_line_break(text: bytes) -> bytes:
    """The byte that ends lines: a carriage return only where no line feed stands between fields."""
    if b"\r" not in text:
        return b"\n"
    if b"\n" not in text:
        return b"\r"
    bare = re.sub(rb'"[^"]*+"', b"", text)
    return b"\r" if b"\r" in bare and b"\n" not in bare else b"\n"


def decode_line(line: bytes) -> tuple[str, bool]:
    """A line as text, and whether it is UTF-8; other lines are read as Windows-1252."""
    try:
        return line.decode(), True
    except UnicodeDecodeError:
        pass
    try:
        return line.decode("windows-1252"), False
    except UnicodeDecodeError:  # five bytes mean nothing there
        return line.decode("latin-1"), False


def _decode_lines(raw: Sequence[bytes], line_break: bytes) -> list[str]:
    try:  # all at once, where each is UTF-8
        lines = line_break.join(raw).decode().split(line_break.decode())
    except UnicodeDecodeError:
        lines = [decode_line(line)[0] for line in raw]
    return [line.removesuffix("\r") for line in lines]


def _read_beginning(path: Path) -> tuple[bytes, str | None]:
    """The first bytes as UTF-8, and the encoding that they are in if it is another one."""
    with ByteStream(path) as stream:
        beginning = stream.read(SAMPLED_BYTES)
    for form, what in OTHER_FORMS:
        if re.match(form, beginning):
            raise InputError(f"{path}: is {what}, expected CSV or Parquet")
    if packing_of(path) and packing_by(beginning):
        raise InputError(f"{path}: is packed twice; unpack it once")
    encoding = _wide_encoding(beginning)
    if encoding is not None:
        with ByteStream(path, encoding) as stream:
            beginning = stream.read(SAMPLED_BYTES)
    return beginning, encoding


def _wide_encoding(beginning: bytes) -> str | None:
    """UTF-16 or UTF-32 by the mark, or by a zero in every second byte; None for all else."""
    for mark, encoding in WIDE_MARKS:
        if beginning.startswith(mark):
            return encoding
    even, odd = beginning[0:1000:2], beginning[1:1000:2]
    for zeros, letters, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if zeros.count(0) > len(zeros) * 0.7 and letters.count(0) < len(letters) * 0.1:
            return encoding
    return None


def _skip_to_table(path: Path, lines: Sequence[str], *, has_header: bool) -> tuple[int, str | None]:
    """The first line of the table, and the separator if a line above it names one."""
    separator = None
    for position, line in enumerate(lines):
        if named := EXCEL_SEPARATOR.fullmatch(line):
            separator = named[1]
        elif line.strip() and not (has_header and _is_above(lines, position)):
            if "\0" in line:
                raise InputError(f"{path}: is no table of text (line {position + 1} holds NUL)")
            return position, separator
    commented = [position for position, line in enumerate(lines) if line.startswith("#")]
    if commented:  # a header alone
        return commented[-1], separator
    raise InputError(f"{path}: is empty")


def _is_above(lines: Sequence[str], position: int) -> bool:
    """Whether a line is above the header: a comment, a ruled line, or the title of a report."""
    line = lines[position]
    if line.startswith(("#", "//", "-- ")) or re.fullmatch(r"[-+=|\s]+", line):
        return True
    filled = (one for one in islice(lines, position + 1, None) if one.strip())
    following = list(islice(filled, MAX_HEADER_LINES))
    if len(following) < MIN_LINES_BELOW_TITLE or any(one in line for one in SEPARATORS):
        return False
    # No table has one column, so a line without separators above lines that all have some is none.
    for separator in SEPARATORS:
        (n, times), *_ = Counter(one.count(separator) for one in following).most_common(1)
        if n and times >= MIN_SHARE_BELOW_TITLE * len(following):
            return '"' not in line
    return False


def _take_header(
    path: Path, lines: Sequence[str], first: int, grammar: FieldGrammar, *, quoted: bool
) -> tuple[list[str], int]:
    """The names of the columns, and the line of the first row."""
    text, first = lines[first], first + 1
    if _is_commented_header(lines[first - 2 : first], grammar):
        text, first = lines[first - 2], first - 1
    text = text.removeprefix("#")
    names = text.split(grammar.separator)
    if quoted:
        split, n_lines = _split_record(lines[first - 1 :], text, grammar)
        if split is None:
            raise InputError(f"{path}: line {first} is no header (a quote in it isn't closed)")
        names, first = split, first + n_lines - 1
    names = [name.strip().strip("\ufeff").strip() for name in names]
    rows = list(_sampled_records(lines[first:][:SAMPLED_LINES], grammar, len(names)))
    are_numbered = all(row[0] == str(n) for n, row in enumerate(rows, start=1))
    for row_lengths, change in (
        # A separator ends each row and not the header, or the header and no row.
        ([len(row) == len(names) + 1 and not row[-1] for row in rows], [*names, ""]),
        ([len(row) == len(names) - 1 and not names[-1] for row in rows], names[:-1]),
        # R numbers its rows and gives the numbers no name.
        (
            [are_numbered and len(row) == len(names) + 1 and row[-1] != "" for row in rows],
            ["", *names],
        ),
    ):
        if rows and sum(row_lengths) >= MIN_SHARE_OF_ROWS * len(rows):
            names = change
    return names, first


def _sampled_records(
    lines: Sequence[str], grammar: FieldGrammar, n_fields: int
) -> Iterator[list[str]]:
    """The fields of whole records; a line within a field in quotes is no record of its own.

    Where one of the lines could be a row, quotes are strays rather than around several lines.
    """
    first = 0
    while first < len(lines):
        split, n_lines = _split_record(lines[first:], lines[first], grammar)
        within = lines[first + 1 : first + n_lines]
        if any(line.count(grammar.separator) == n_fields - 1 for line in within):
            split, n_lines = None, 1
        if split is not None and lines[first]:
            yield split
        first += n_lines


def _split_record(
    lines: Sequence[str], text: str, grammar: FieldGrammar
) -> tuple[list[str] | None, int]:
    """The fields of a record, which may go on over some lines, and how many lines.

    `text` is the first of `lines` as it is to be read.
    """
    for n_lines in range(1, MAX_FOLDED_LINES + 1):
        fields = grammar.split("\n".join([text, *lines[1:n_lines]]))
        if fields is not None:
            return fields, n_lines
    return None, 1


def _is_commented_header(lines: Sequence[str], grammar: FieldGrammar) -> bool:
    """Whether a line that begins with # names the columns of the line below it."""
    if len(lines) < 2 or not lines[0].startswith("#"):
        return False
    header, row = (line.removeprefix("#").split(grammar.separator) for line in lines)
    are_names = all(map(NAME.fullmatch, header))
    return len(header) == len(row) > 1 and are_names and not all(map(NAME.fullmatch, row))


def _encloses(line: str, grammar: FieldGrammar, n_fields: int) -> bool:
    if not grammar.has_enclosed(line):
        return False
    fields = grammar.split(line)
    return fields is not None and grammar.shows_quoting(fields, n_fields)


def _is_padded(lines: Sequence[str], separator: str) -> bool:
    """Whether a blank follows every separator, the header's too, as psql writes it."""
    rows = [bare for line in lines if separator in (bare := line.strip().strip(separator))]
    return bool(rows) and all(row.count(separator) == row.count(f"{separator} ") for row in rows)


def _unique_names(names: Sequence[str]) -> tuple[tuple[str, ...], frozenset[str], frozenset[str]]:
    """Different names for all columns; those of unnamed ones; those that stood there twice."""
    columns: list[str] = []
    unnamed: set[str] = set()
    repeated: set[str] = set()
    for number, name in enumerate(names, start=1):
        unique = name
        if not name or name in columns:
            (repeated if name else unnamed).add(name or f"column {number}")
            unique = f"{name} (column {number})" if name else f"column {number}"
        columns.append(unique)
    return tuple(columns), frozenset(unnamed), frozenset(repeated)
