"""Texts: what they are besides words, and the words that are in them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import polars as pl

from offline.data.kinds.time_shapes import read_shape

_ADDRESS = r"(?i)(?:https?|ftp)://\S+|\bwww\.\S+|\bdata:image/\S+"
_MARKUP = r"</?[A-Za-z][^>]*>|&(?:#\d+|#x[0-9A-Fa-f]+|[A-Za-z]+);|<!--"
_MOSTLY = 0.5
_MAX_DATE_CHARACTERS = 80

_address, _markup = re.compile(_ADDRESS), re.compile(_MARKUP)
# Of these elements nothing is shown to people.
_HIDDEN = ("script", "style", "head", "template", "noscript")


def describe_texts(texts: pl.Series) -> str:
    """What a column of texts holds, for people, from some of them."""
    some = texts.drop_nulls().head(1_000)
    if not len(some):
        return "empty"
    if some.str.contains(_ADDRESS).sum() > _MOSTLY * len(some):
        return "addresses, left out of item texts"
    n_dates = sum(is_date(text) for text in some.head(100).to_list())
    if n_dates > _MOSTLY * min(len(some), 100):
        return "dates, left out of item texts"
    if some.str.contains(_MARKUP).any():
        return "with HTML, which item texts leave out"
    return "as it stands"


def is_date(text: str) -> bool:
    """Whether a text is a date or a time and nothing else."""
    if len(text) > _MAX_DATE_CHARACTERS or not any(map(str.isdecimal, text)):
        return False
    return read_shape(re.sub(r"[0-9]", "0", text.strip())) is not None


def words_of(text: str) -> str:
    """The words of a text on one line: without markup and addresses, entities resolved."""
    if _markup.search(text):
        text = _without_markup(text)
    return " ".join(_address.sub(" ", text).split())


def prose_of(text: str) -> str:
    """`words_of`; empty where these are no more than a date, a number or a code of digits."""
    words = words_of(text)
    return words if any(map(str.isalpha, words)) and not is_date(words) else ""


class _Words(HTMLParser):
    """Collects the text that a browser would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the base's interface
        self._hidden += tag in _HIDDEN
        self.words.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(0, self._hidden - (tag in _HIDDEN))
        self.words.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


def _without_markup(text: str) -> str:
    parser = _Words()
    parser.feed(text)
    parser.close()
    return "".join(parser.words)
