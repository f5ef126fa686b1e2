"""Requests to the admin API of a running service, for commands with `--url`."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from model_store.errors import ConfigError, RegistryError, ServiceAway

# Loading and checking a large bundle next to the running one takes a while.
ACTIVATION_TIMEOUT_S = 600
_AWAY = frozenset((429, 502, 503, 504))


def clean_token(text: str) -> SecretStr | None:
    """A token without the blanks and line breaks around it; None if it is blank.

    Raises:
        ValueError: it can't stand in a header.
    """
    token = text.strip()
    if not token:
        return None
    if not (token.isascii() and token.isprintable()):
        raise ValueError("has characters other than printable ASCII")
    return SecretStr(token)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token is for the service that was named, and for no other that it may point to."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def service_url(given: str) -> str:
    """The URL of a service as given, without a slash at the end.

    Raises:
        ConfigError: it isn't one; what may hold a password is not shown.
    """
    if "@" in given:
        raise ConfigError("--url: has a user or a password; a service knows its token only")
    try:
        parts = urlsplit(given)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ConfigError(f"--url {given!r}: {error}") from None
    if parts.scheme not in {"http", "https"}:
        raise ConfigError(f"--url {given!r}: starts with neither http:// nor https://")
    if not is_usable:
        raise ConfigError(f"--url {given!r}: names no host")
    return given.rstrip("/")


class Answer(dict[str, Any]):
    """An answer; what it lacks is a RegistryError that names the address."""

    def __init__(self, url: str, content: dict[str, Any]) -> None:
        super().__init__(content)
        self._url = url

    def __missing__(self, key: str) -> Any:
        raise foreign(self._url, key)


def foreign(url: str, what: str) -> RegistryError:
    """Another service, or one of another release, has answered."""
    return RegistryError(f"{url}: the answer has no usable {what!r}; is Longtail there?")


def ask(
    method: str,
    url: str,
    token: SecretStr,
    body: dict[str, Any] | None = None,
    *,
    timeout_s: float = ACTIVATION_TIMEOUT_S,
) -> Answer:
    """The answer to one request.

    Args:
        method, url, token, body: of the request.
        timeout_s: how long nothing may come before the service counts as away.

    Raises:
        ServiceAway: the service, or its store, can't be asked just now.
        RegistryError: it rejected the request, with its reason.
    """
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(  # noqa: S310 - `service_url` has checked the scheme
        url, None if body is None else json.dumps(body).encode(), headers, method=method
    )
    try:
        with _OPENER.open(request, timeout=timeout_s) as response:
            document: Any = json.load(response)
    except urllib.error.HTTPError as error:
        kind = ServiceAway if error.code in _AWAY else RegistryError
        raise kind(_detail(error)) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error)).strip() or type(error).__name__
        raise ServiceAway(f"{url}: {reason}") from error
    if not isinstance(document, dict):
        raise foreign(url, "document")
    return Answer(url, document)


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError, http.client.HTTPException):
        return f"{error.url}: {error.code} {error.reason}"
