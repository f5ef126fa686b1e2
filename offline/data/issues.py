"""Issues of an input's rows: counted, with a few examples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from model_store.errors import InputError
from model_store.files import write_atomically

MAX_EXAMPLES = 3


class IssueKind(StrEnum):
    """Kinds of issues; the value is the message after a count of rows or items."""

    MISSING_USER = "without a user id dropped"
    MISSING_ITEM = "without an item id dropped"
    CONTROL_CHARACTER = "with a control character in an id dropped"
    SHORTENED_ID = "with an id that a spreadsheet seems to have shortened, kept as it stands"
    LONG_ID = "with an id longer than 512 characters dropped"
    MISSING_TIMESTAMP = "without a timestamp dropped"
    BAD_TIMESTAMP = "with an unreadable timestamp dropped"
    IMPLAUSIBLE_TIME = "with a time before 1980 or in the future dropped"
    IMPLAUSIBLE_TIMES = "with a time before 1980 or in the future kept"
    DAY_BY_CUSTOM = "with dates whose day and month only custom tells apart"
    TIED = "at the time of another of the same user, kept in the file's order"
    NEWEST_FIRST = (
        "above an earlier one of the same user: the file is newest first, and rows of one time "
        "perhaps too, though they are read as oldest first"
    )
    NO_RATING = "with a rating that is no number kept without it"
    FIELD_COUNT = "with another number of fields than the header dropped"
    BAD_QUOTE = "with a misplaced quote dropped"
    QUOTE_AS_LETTER = "with a quote that encloses nothing, taken as a letter"
    ROWS_IN_FIELD = (
        "with a field in quotes over lines that look like rows of their own, kept as one row: is a "
        "quote there a stray?"
    )
    NOT_UTF8 = "in another encoding than UTF-8, read as Windows-1252"
    REPEATED_INTERACTION = "repeating user, item and timestamp of an earlier one dropped"
    REPEATED_HEADER = "repeating the header dropped"
    REPEATED_ITEM = "repeating the item id of an earlier one dropped"
    ITEM_NOT_IN_CATALOGUE = "of items that the catalogue lacks kept"
    OTHER_EVENT_TYPE = "of an event type that isn't asked for left out"
    NEGATIVE = "that are negative kept apart: they don't train, and their items are excluded"
    CONTEXT_ONLY = "that are context only kept apart: they don't train"
    OUTSIDE_CATALOGUE = "of items that the catalogue lacks dropped"
    COLLAPSED_REPEAT = "repeating an item of the same user dropped"
    MISSING_TITLE = "without a title kept"
    NOT_A_NUMBER = "with a text in a column of numbers or booleans, taken as missing there"
    COLUMN_NOT_READ = "that can't become an attribute left out"
    PERHAPS_LIST = "that may hold lists kept as texts"

    @property
    def is_loss(self) -> bool:
        """Whether its rows are not used."""
        return self.value.endswith("dropped")


ABOUT_COLUMNS = (IssueKind.COLUMN_NOT_READ, IssueKind.PERHAPS_LIST)


@dataclass
class Issue:
    """One kind of issue about one file."""

    file: str
    kind: IssueKind
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.file}: {self.summary}"

    @property
    def summary(self) -> str:
        """Count, kind and examples, without the file."""
        noun = "column" if self.kind in ABOUT_COLUMNS else "row"
        text = f"{self.count} {noun if self.count == 1 else noun + 's'} {self.kind}"
        if not self.examples:
            return text
        more = ["…"] if self.count > len(self.examples) else []
        return f"{text} ({'; '.join([*self.examples, *more])})"


class Issues:
    """All issues about a data set, in the order in which they first came up."""

    def __init__(self, issues: Sequence[Issue] = ()) -> None:
        self._issues = {(c.file, c.kind): c for c in issues}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Issues) and self._issues == other._issues

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __iter__(self) -> Iterator[Issue]:
        return iter(self._issues.values())

    def add(self, file: str, kind: IssueKind, count: int, examples: Sequence[str] = ()) -> None:
        """Count `count` more; the first few examples are kept. 0 changes nothing."""
        if not count:
            return
        issue = self._issues.setdefault((file, kind), Issue(file, kind))
        issue.count += count
        issue.examples += examples[: MAX_EXAMPLES - len(issue.examples)]

    def count(self, kind: IssueKind, file: str | None = None) -> int:
        """Count of a kind, in one file or in all."""
        return sum(c.count for c in self if c.kind is kind and file in (None, c.file))

    def about(self, file: str) -> str:
        """All issues of one file, on one line."""
        return ", ".join(c.summary for c in self if c.file == file)

    def lines(self) -> list[str]:
        """One line for each issue, for people."""
        return [str(issue) for issue in self]

    def save(self, path: Path) -> None:
        """Write as a JSON list."""
        rows = [{**asdict(c), "kind": c.kind.name.lower()} for c in self]
        write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> Issues:
        """Read what `save` wrote.

        Raises:
            InputError: the file can't be read or doesn't hold issues.
        """
        try:
            rows = json.loads(path.read_bytes())
            return cls(
                [
                    Issue(
                        str(row["file"]),
                        IssueKind[row["kind"].upper()],
                        int(row["count"]),
                        [str(example) for example in row["examples"]],
                    )
                    for row in rows
                ]
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path}: not readable issues ({error})") from error
