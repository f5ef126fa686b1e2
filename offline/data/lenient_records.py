"""Takes records apart where quotes break the rules, so that no row is lost without being counted.

The readers of polars and of the standard library run on to the next quote where one is opened and
not closed, over as many rows as that takes. Here a quoted field may hold line breaks only if it is
closed at the end of a field, and the record then has the right number of fields. Otherwise the
record ends with its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from offline.data.issues import IssueKind
from offline.data.quoted_fields import FieldGrammar
from offline.data.swallowed_rows import holds_rows


def wrong_count(n_fields: int, n_expected: int) -> str:
    """What a record has instead of the header's number of fields."""
    return f"{n_fields} {'field' if n_fields == 1 else 'fields'} instead of {n_expected}"


@dataclass
class LenientRows:
    """Rows that were found, and what was wrong.

    Attributes:
        rows: their fields.
        lines: the line of each, counted from 0.
        issues: kind, line, and what to add to the line, of each row with one.
        n_lines: how many lines were used up; the rest may belong to a record that goes on.
    """

    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    issues: list[tuple[IssueKind, int, str]] = field(default_factory=list)
    n_lines: int = 0

    def add(self, line: int, fields: list[str]) -> None:
        """Count one row."""
        self.rows.append(fields)
        self.lines.append(line)


class LenientReader:
    """Takes lines apart.

    Args:
        separator: between fields.
        n_fields: of a whole row.
        quoted: whether fields may stand in quotes; if not, a quote is a letter.
        encloses: whether fields in quotes have been seen. Until then a quote at the beginning of a
            field may as well be a letter, as in `"Heroes`.
    """

    def __init__(self, separator: str, n_fields: int, *, quoted: bool, encloses: bool) -> None:
        self.encloses = encloses
        self._grammar = FieldGrammar(separator)
        self._separator, self._n_fields, self._quoted = separator, n_fields, quoted

    def read(self, lines: Sequence[str], *, is_last: bool) -> LenientRows:
        """Rows of lines, each without its line break.

        Args:
            lines: they begin with a record.
            is_last: whether no more lines can follow.
        """
        found = LenientRows()
        line = 0
        while line < len(lines):
            text, span = lines[line], 1
            if not text:
                pass
            elif not (self._quoted and self._grammar.has_enclosed(text)):
                self._add_plain(line, text, found)
            elif fields := self._grammar.split(text):
                self.encloses |= self._grammar.shows_quoting(fields, self._n_fields)
                self._add_fields(line, fields, found)
            else:
                joined = self._join(lines, line, is_last=is_last)
                if joined is None:
                    break
                span, fields = joined
                if fields is None:
                    self._add_stray(line, text, found)
                else:
                    if holds_rows(fields, lines[line + 1 : line + span], self._separator):
                        note = f"goes on over {span} lines"
                        found.issues.append((IssueKind.ROWS_IN_FIELD, line, note))
                    self._add_fields(line, fields, found)
            line += span
        found.n_lines = line
        return found

    def _join(
        self, lines: Sequence[str], first: int, *, is_last: bool
    ) -> tuple[int, list[str] | None] | None:
        """The record that begins on a line and goes on: how many lines, and its fields.

        (1, None) if the record can't go on; None if only lines that aren't there yet can tell.
        """
        text, n_joined = lines[first], 1
        fields, position = self._grammar.split_until(text)
        for last in range(first + 1, len(lines)):
            if not self._grammar.is_open(text, position):
                return 1, None
            if '"' not in lines[last]:  # nothing is closed here
                continue
            text = "\n".join([text, *lines[first + n_joined : last + 1]])
            n_joined = last + 1 - first
            fields, position = self._grammar.split_until(text)
            if fields is not None:
                is_record = self._is_record(fields, lines[first : last + 1])
                return (n_joined, fields) if is_record else (1, None)
        if is_last or not self._grammar.is_open(text, position):
            return 1, None
        return None

    def _is_record(self, fields: Sequence[str], lines: Sequence[str]) -> bool:
        """Whether lines are one record rather than rows with stray quotes."""
        if self.encloses and len(fields) == self._n_fields:
            return True
        return not any(map(self._is_row, lines[1:]))

    def _is_row(self, text: str) -> bool:
        return text.count(self._separator) == self._n_fields - 1

    def _add_fields(self, line: int, fields: list[str], found: LenientRows) -> None:
        if len(fields) == self._n_fields:
            found.add(line, fields)
        else:
            note = wrong_count(len(fields), self._n_fields)
            found.issues.append((IssueKind.FIELD_COUNT, line, note))

    def _add_plain(self, line: int, text: str, found: LenientRows) -> None:
        """A line on which no quote opens a field; or several rows between old line breaks."""
        if "\r" in text and not self._is_row(text):
            rows = [row for row in text.split("\r") if row]
            if all(map(self._is_row, rows)):
                for row in rows:
                    found.add(line, row.split(self._separator))
                return
        self._add_fields(line, text.split(self._separator), found)

    def _add_stray(self, line: int, text: str, found: LenientRows) -> None:
        """A line on which a quote breaks the rules."""
        if not self.encloses and self._is_row(text):
            found.add(line, self._grammar.split_as_letters(text))
            found.issues.append((IssueKind.QUOTE_AS_LETTER, line, ""))
        else:
            found.issues.append((IssueKind.BAD_QUOTE, line, ""))
