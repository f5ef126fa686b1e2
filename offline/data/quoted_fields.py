"""The grammar of one record: fields between separators, some of them in quotes (RFC 4180)."""

from __future__ import annotations

import re

_ENCLOSED = r'"[^"]*+(?:""[^"]*+)*+"'


class FieldGrammar:
    """Takes records apart; a quote in a field that doesn't begin with one is a letter."""

    def __init__(self, separator: str) -> None:
        self.separator = separator
        between = re.escape(separator)
        self._field = re.compile(
            rf'(?:({_ENCLOSED})|((?:[^"{between}][^{between}]*+)?))({between}|\Z)'
        )
        self._begins_enclosed = re.compile(rf'(?:\A|{between})"')
        self._open = re.compile(r'"[^"]*+(?:""[^"]*+)*+\Z')

    def has_enclosed(self, text: str) -> bool:
        """Whether a field begins with a quote."""
        return self._begins_enclosed.search(text) is not None

    def split(self, text: str) -> list[str] | None:
        """The fields; None where a quote stands elsewhere than around a field, or isn't closed."""
        return self.split_until(text)[0]

    def shows_quoting(self, fields: list[str], n_fields: int) -> bool:
        """Whether the fields of a line with quotes prove that the file puts fields in quotes.

        They do if they are as many as a row's. Between tabs few programs put fields in quotes, and
        a title that is whole in quotes may be meant so.
        """
        if len(fields) != n_fields:
            return False
        return self.separator != "\t" or any(self.separator in field for field in fields)

    def split_until(self, text: str) -> tuple[list[str] | None, int]:
        """As `split`, and the position of the last field, or of the one that breaks the rules."""
        if not self.has_enclosed(text):
            return text.split(self.separator), 0
        fields, position = [], 0
        while match := self._field.match(text, position):
            enclosed, plain, end = match.groups()
            fields.append(plain if enclosed is None else unquote(enclosed))
            if not end:
                return fields, position
            position = match.end()
        return None, position

    def is_open(self, text: str, position: int) -> bool:
        """Whether a field that begins with a quote there isn't closed before the text ends."""
        return self._open.match(text, position) is not None

    def split_as_letters(self, text: str) -> list[str]:
        """The fields between all separators; those that are whole in quotes come without them."""
        return [
            unquote(part) if re.fullmatch(_ENCLOSED, part) else part
            for part in text.split(self.separator)
        ]


def unquote(enclosed: str) -> str:
    """The text of a field in quotes."""
    return enclosed[1:-1].replace('""', '"')
