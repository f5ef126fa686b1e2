"""Errors as RFC 9457 problem documents; each names the field and the value that were wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from app.http.failure_log import FailureLog
from model_store.errors import InvalidField, LongtailError, NotReady, WrongKind

MEDIA_TYPE = "application/problem+json"
SHOWN_CHARACTERS = 200
SHOWN_ERRORS = 20
MAX_LISTED_ERRORS = 1_000  # pydantic makes all of them at once, at two microseconds each
# Errors of the packages below that callers see; any other is an error of the service.
STATUS_OF: dict[type[LongtailError], int] = {InvalidField: 422, WrongKind: 409, NotReady: 503}


# A 500 is logged with its stack trace where it is caught; 424 is a version that fails its checks.
LOGGED = frozenset({424, *range(501, 600)})
_failures = FailureLog()


class Problem(Exception):  # noqa: N818 - named after the document it becomes
    """An error that becomes the response; raised anywhere in a request.

    `errors` are extension members {"field", "value", "message"}, one for each wrong field. An
    expected one tells of no failure, whatever its status, and is not logged.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        is_expected: bool = False,
    ) -> None:
        super().__init__(detail)
        self.is_expected = is_expected
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def document(self, request_id: str) -> dict[str, Any]:
        """The document, JSON-ready."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = self.errors
        return document

    def response(self, request_id: str) -> Response:
        """The document as a response; a failure of the service is logged."""
        if self.status in LOGGED and not self.is_expected:
            _failures.note(self.status, self.detail, request_id)
        content = orjson.dumps(self.document(request_id))
        return Response(content, self.status, self.headers, MEDIA_TYPE)


def from_error(error: LongtailError) -> Problem:
    """The problem that an error of `STATUS_OF` is answered with."""
    if isinstance(error, InvalidField):
        shown = shorten(error.value)
        return Problem(
            422,
            f"{error} (got {json.dumps(shown, ensure_ascii=False)})",
            errors=[{"field": error.field, "value": shown, "message": error.message}],
        )
    status = STATUS_OF[type(error)]
    return Problem(status, str(error), headers={"Retry-After": "1"} if status == 503 else None)


def from_validation(error: ValidationError, within: str = "") -> Problem:
    """422 that names each wrong field with its value.

    Args:
        error: of a body, or of a part of the request.
        within: the field that is this part.
    """
    count = error.error_count()
    if count > MAX_LISTED_ERRORS:
        return Problem(422, f"the body has {count} errors, too many to list")
    found = error.errors(include_url=False, include_context=False)
    errors = []
    for one in found[:SHOWN_ERRORS]:
        missing = one["type"] == "missing"
        # The input of a whole-body rule is the whole body, which would not help.
        value = None if missing or not one["loc"] else shorten(one["input"])
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            message = "unknown field; GET /docs lists the known ones"
        location = (within, *one["loc"]) if within else one["loc"]
        errors.append({"field": field_path(location), "value": value, "message": message})
    first = errors[0]
    detail = f"{first['field']}: {first['message']}"
    if first["value"] is not None:
        detail += f" (got {json.dumps(first['value'], ensure_ascii=False)})"
    if len(found) > 1:
        detail += f"; and {len(found) - 1} more"
    return Problem(422, detail, errors=errors)


def field_path(location: Sequence[int | str]) -> str:
    """('requests', 3, 'k') as "requests[3].k"; nothing as "body"."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path[:SHOWN_CHARACTERS] or "body"


def shorten(value: Any) -> Any:
    """The value itself if it is a short scalar, else the beginning of its JSON text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    text = value if isinstance(value, str) else _beginning(value)
    # Lone surrogates can't be encoded and are replaced: an error must always be reported.
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def _beginning(value: Any) -> str:
    """The JSON text of a value as far as it is shown; the value may be as long as a body."""
    text = ""
    for part in json.JSONEncoder(default=repr).iterencode(value):
        text += part
        if len(text) > SHOWN_CHARACTERS:
            break
    return text
