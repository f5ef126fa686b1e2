"""What an endpoint says in place of an answer, as one line and as a kind.

Servers word and place their errors each in their own way: `error.message`, `message`, `detail`, a
list of faulty fields, a page of HTML.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from enum import Enum
from http import HTTPStatus
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_TAG = re.compile(
    r"<(?:script|style)\b.*?</(?:script|style)>|<[^<>]{1,500}>", re.IGNORECASE | re.DOTALL
)

# The same request may succeed later; so it may after most 5xx.
_PASSING = frozenset({408, 409, 425, 429})
_LASTING = frozenset({501, 505})
_ABOUT_THE_REQUEST = frozenset({400, 413, 422, 451})
_TOO_LONG = re.compile(
    r"context.?(?:length|size|window)|string_above_max_length|reduce the length"
    r"|\b(?:inputs?|prompt|messages?|request|text)\b.{0,60}"
    r"(?:too (?:long|large|big)|exceed|longer than|less than)"
    r"|exceed.{0,60}\btokens|maximum.{0,30}(?:length|tokens)",
    re.IGNORECASE | re.DOTALL,
)
_LIMIT = re.compile(r"max_(?:completion_)?tokens", re.IGNORECASE)
_TEXT = re.compile(r"context|input|prompt|messages", re.IGNORECASE)
_FILTERED = re.compile(
    r"content.?(?:filter|policy|management|safety)|responsible.?ai|moderation|\bflagged\b"
    r"|safety (?:system|filter|setting|reason)|data_inspection"
    r"|(?:content|prompt|input|text)\b.{0,60}(?:inappropriate|blocked|prohibited|sensitive)"
    r"|(?:inappropriate|prohibited|sensitive) (?:content|prompt|input|text|word)",
    re.IGNORECASE | re.DOTALL,
)
_EXHAUSTED = re.compile(
    r"insufficient.?(?:quota|funds|balance|credit)|billing|exceeded your current quota",
    re.IGNORECASE,
)
_UNREADABLE = HTTPStatus.SERVICE_UNAVAILABLE


class Verdict(Enum):
    """What to do about a problem."""

    PASSING = "ask again later"
    TOO_LONG = "ask with less text"
    FILTERED = "leave this text"
    REJECTED = "ask in another form, or leave this text"
    FATAL = "stop"


@dataclass(frozen=True)
class EndpointProblem:
    """An error in the place of an answer.

    Attributes:
        status: of HTTP, or what an error inside a 200 amounts to.
        message: one line; some servers repeat the key in it.
        codes: its machine-readable words, in one text.
        parameter: the part of the request that it names; "" if none.
    """

    status: int
    message: str
    codes: str = ""
    parameter: str = ""

    @classmethod
    def of(cls, status: int, content: bytes) -> EndpointProblem:
        """Read an answer's body."""
        text = content.decode("utf-8", "replace")
        try:
            return cls._read(status, json.loads(text))
        except (ValueError, RecursionError):
            return cls(status, _one_line(_TAG.sub(" ", text)) or _phrase(status))

    @classmethod
    def inside(cls, document: Any) -> EndpointProblem | None:
        """The error that a 200 holds; None where it holds none."""
        if not isinstance(document, dict):
            return None
        choices = document.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        error = document.get("error") or (first.get("error") if isinstance(first, dict) else None)
        if not error or (isinstance(error, dict) and not any(error.values())):
            return None
        found = cls._read(_UNREADABLE, error)
        code = str(error.get("code")) if isinstance(error, dict) else ""
        if code.isdecimal() and 400 <= int(code) < 600:
            return replace(found, status=int(code))
        asks_wrongly = "invalid" in found.codes or found._is_too_long or found._is_filtered
        return replace(found, status=HTTPStatus.BAD_REQUEST) if asks_wrongly else found

    @property
    def verdict(self) -> Verdict:
        """What to do about it."""
        if self.status == HTTPStatus.TOO_MANY_REQUESTS and _EXHAUSTED.search(self._words):
            return Verdict.FATAL
        if self.status == HTTPStatus.TOO_MANY_REQUESTS and "too large" in self._words.lower():
            return Verdict.TOO_LONG  # a minute's tokens are fewer than the prompt's
        if self.status in _PASSING or (self.status >= 500 and self.status not in _LASTING):
            return Verdict.PASSING
        if self.status in _ABOUT_THE_REQUEST | {403} and self._is_filtered:
            return Verdict.FILTERED
        if self.status not in _ABOUT_THE_REQUEST:
            return Verdict.FATAL
        if self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or self._is_too_long:
            return Verdict.TOO_LONG
        return Verdict.REJECTED

    def names(self, parameter: str) -> bool:
        """Whether it is about a parameter of the request."""
        if self.parameter:
            return self.parameter.rpartition(".")[2] == parameter
        return re.search(rf"\b{parameter}\b", self.message) is not None

    def __str__(self) -> str:
        return f"status {self.status}: {self.message}"

    @classmethod
    def _read(cls, status: int, document: Any) -> EndpointProblem:
        error = document.get("error", document) if isinstance(document, dict) else document
        fields = error if isinstance(error, dict) else {"message": error}
        names = ("message", "msg", "detail", "error", "title")
        message = next((fields[name] for name in names if fields.get(name)), fields or "")
        if isinstance(message, list):
            message = "; ".join(map(_faulty_field, message))
        line = _one_line(message if isinstance(message, str) else json.dumps(message))
        codes = [str(fields[name]) for name in ("code", "type", "status") if fields.get(name)]
        inner = fields.get("innererror")  # Azure's
        if isinstance(inner, dict):
            codes.append(str(inner.get("code")))
        parameter = str(fields.get("param") or "")
        return cls(status, line or _phrase(status), " ".join(codes), parameter)

    @property
    def _words(self) -> str:
        return f"{self.codes} {self.message}"

    @property
    def _is_filtered(self) -> bool:
        return _FILTERED.search(self._words) is not None

    @property
    def _is_too_long(self) -> bool:
        words = self._words
        is_about_limit = _LIMIT.search(words) and not _TEXT.search(words)
        return _TOO_LONG.search(words) is not None and not is_about_limit


def _faulty_field(one: Any) -> str:
    """An entry of FastAPI's `detail`."""
    if not isinstance(one, dict):
        return str(one)
    place = one.get("loc")
    where = ".".join(map(str, place)) + ": " if isinstance(place, list) else ""
    return f"{where}{one.get('msg', one)}"


def _one_line(text: str) -> str:
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line.encode("utf-8", "replace").decode()


def _phrase(status: int) -> str:
    try:
        return f"{HTTPStatus(status).phrase}, without a reason"
    except ValueError:
        return "no reason given"
