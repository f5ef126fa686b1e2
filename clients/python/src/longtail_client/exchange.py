"""How a call becomes an HTTP request, and a response its answer or an error: no I/O here."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from longtail_client.answers import ProblemDocument
from longtail_client.calls import Answer, Call
from longtail_client.errors import (
    AnswerTimeoutError,
    ApiError,
    LongtailError,
    UnreachableError,
    UnreadableAnswerError,
    kind_of,
)
from longtail_client.version import VERSION

# Connections are given up before the service closes them, after 75 seconds.
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=60)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Secrets:
    """What calls are sent with; neither is ever shown.

    Args:
        api_key, admin_token: blanks and line breaks around them are ignored.

    Raises:
        ValueError: one can't stand in a header.
    """

    def __init__(self, api_key: str | None, admin_token: str | None) -> None:
        self._by = {
            "caller": _clean("api_key", api_key),
            "operator": _clean("admin_token", admin_token),
            "anybody": None,
        }

    def headers(self, call: Call[Any]) -> dict[str, str]:
        """The header that proves who calls; none where nothing has to be proved."""
        secret = self._by[call.by]
        return {"Authorization": f"Bearer {secret}"} if secret else {}


def _clean(name: str, secret: str | None) -> str | None:
    cleaned = (secret or "").strip()
    if not (cleaned.isascii() and cleaned.isprintable()):
        raise ValueError(f"{name} has characters other than printable ASCII")
    return cleaned or None


def check_url(url: str) -> str:
    """The service's URL without a slash at its end.

    Raises:
        ValueError: it is none; what may hold a password is not shown.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        shown = "the service's URL" if "@" in url else f"the service's URL {url!r}"
        raise ValueError(f"{shown} is not one like http://127.0.0.1:8000")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("the service's URL has more than scheme, host, port and path")
    return url.rstrip("/")


def http_options(url: str, timeout_s: float) -> dict[str, Any]:
    """Arguments that httpx's two clients have in common.

    Raises:
        ValueError: one of them can't be used.
    """
    if not timeout_s > 0:
        raise ValueError(f"timeout_s={timeout_s} is not above 0")
    return {
        "base_url": check_url(url),
        "timeout": timeout_s,
        "limits": LIMITS,
        "headers": {"User-Agent": f"longtail-client/{VERSION}", "Accept": "application/json"},
        "follow_redirects": False,  # secrets are for the service that was named
    }


def new_request_id() -> str:
    """An id for all attempts of a call, which the service takes over."""
    return uuid.uuid4().hex


def request_options(call: Call[Any], secrets: Secrets, request_id: str) -> Mapping[str, Any]:
    """Arguments of httpx's `request`."""
    options: dict[str, Any] = {
        "method": call.method,
        "url": call.path,
        "headers": {**secrets.headers(call), "X-Request-ID": request_id},
    }
    if call.parameters:
        options["params"] = call.parameters
    if call.body is not None:
        options["json"] = call.body
    return options


def read_answer(call: Call[Answer], response: httpx.Response, request_id: str) -> Answer:
    """The answer in a response.

    Raises:
        ApiError: the service answered with an error.
        UnreadableAnswerError: this is not the service's answer.
    """
    if response.is_error:
        raise _read_problem(response, request_id)
    try:
        if response.status_code == httpx.codes.OK:
            return call.answer.model_validate_json(response.content)
        reason = f"status {response.status_code}"
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place}: {first['msg']}" if place else first["msg"]
    raise UnreadableAnswerError(
        f"{call.method} {response.url.copy_with(query=None)}: not an answer of Longtail ({reason})",
        request_id=request_id,
        may_have_acted=True,
    )


def from_transport(call: Call[Any], error: httpx.RequestError, request_id: str) -> LongtailError:
    """The error of a call that httpx got no answer to."""
    kind = AnswerTimeoutError if isinstance(error, httpx.TimeoutException) else UnreachableError
    reason = str(error) or type(error).__name__
    return kind(
        f"{call.method} {error.request.url.copy_with(query=None)}: {reason}",
        request_id=request_id,
        may_have_acted=not isinstance(error, _NEVER_SENT),
    )


def _read_problem(response: httpx.Response, request_id: str) -> ApiError:
    kind = kind_of(response.status_code)
    retry_after_s = read_retry_after(response.headers.get("Retry-After"))
    try:
        problem = ProblemDocument.model_validate_json(response.content)
    except ValidationError:  # of a proxy
        reason = response.reason_phrase or "an error"
        return kind(
            response.status_code,
            f"{reason}, without a message of the service",
            request_id=response.headers.get("X-Request-ID", request_id),
            retry_after_s=retry_after_s,
        )
    return kind(
        response.status_code,
        problem.detail,
        request_id=problem.request_id,
        errors=tuple(problem.errors or ()),
        retry_after_s=retry_after_s,
    )


def read_retry_after(value: str | None) -> float | None:
    """Seconds from now of a `Retry-After`, which gives seconds or a time; None: it has neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
