"""Texts from files: whether UTF-8 can carry them, and how a message shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Value = TypeVar("Value")

_SHOWN_CHARACTERS = 300
_AT_ONCE = 4_096


def in_parts(values: Sequence[Value]) -> Iterator[tuple[int, Sequence[Value]]]:
    """A column's values in slices, each with the position of its first one.

    For what looks at many together, in a fraction of the time of one by one: other threads get the
    interpreter between two slices only.
    """
    for start in range(0, len(values), _AT_ONCE):
        yield start, values[start : start + _AT_ONCE]


def is_encodable(text: str) -> bool:
    """Whether a text can be written in UTF-8: JSON can hold lone surrogates, which can't."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def well_formed(text: str) -> str:
    """A text that UTF-8 can carry: halves of characters are joined, or become U+FFFD."""
    if is_encodable(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def first_line(error: BaseException) -> str:
    """The message of an exception, as one line of at most 300 characters."""
    # An OSError names its file, and so does the caller.
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = text.strip().splitlines()
    return shorten(lines[0] if lines else type(error).__name__)


def shorten(text: str) -> str:
    """The beginning of a text, with characters that every log can show."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
