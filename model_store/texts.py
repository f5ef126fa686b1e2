"""Texts that come from files: whether they can be sent on, and how they are shown in a message."""

from __future__ import annotations

_SHOWN_CHARACTERS = 300


def is_encodable(text: str) -> bool:
    """Whether a text can be written in UTF-8: JSON can hold lone surrogates, which can't."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def first_line(error: BaseException) -> str:
    """What an exception says, as part of a message: one line of at most 300 characters."""
    # A system's error names its file, as whoever reports it does.
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = text.strip().splitlines()
    return shorten(lines[0] if lines else type(error).__name__)


def shorten(text: str) -> str:
    """The beginning of a text, in characters that every log can take."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
