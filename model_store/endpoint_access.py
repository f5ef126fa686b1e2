"""Endpoints of language models as people name them: address, key, and what messages may show.

A person gives the server, its `/v1`, another base path, or the whole address of a call, with a
query such as Azure's `?api-version=`. Which of these it is shows in the first answers.
"""

from __future__ import annotations

import base64
import re
import threading
from urllib.parse import SplitResult, parse_qsl, unquote, urljoin, urlsplit, urlunsplit

from model_store.errors import ConfigError
from model_store.redaction import redact_urls, redacted

_CALLS = (
    *("chat/completions", "completions", "chat", "responses"),
    *("embeddings", "rerank", "models"),
)
_VERSION = re.compile(r"/v\d+[a-z]*\d*(?=/|$)")
_SCHEMES = re.compile(r"(bearer|basic) +", re.IGNORECASE)
_API_VERSION = "api-version"
_SECRET_NAME = re.compile(r"key|token|secret|sig|pass|auth|code|cred", re.IGNORECASE)
_MAX_ADDRESSES = 8
# A shorter part of a URL is no secret, and would blot out parts of words.
_MIN_SECRET_CHARACTERS = 4
_MISSING = frozenset({404, 405})
_MOVED = frozenset({301, 307, 308})


class EndpointAccess:
    """The address of one call, found out while the endpoint is asked, and the headers to ask with.

    Args:
        url: as a person wrote it.
        call: path of the call below `/v1`, as in "chat/completions".
        key: as a person wrote it; None where there is none.
        setting: names the address in messages.

    Raises:
        ConfigError: the URL is no http address, or the key can't stand in a header.
    """

    def __init__(self, url: str, call: str, key: str | None, setting: str = "endpoint") -> None:
        parts = split_address(url, setting)
        key = clean_key(key)
        self._secrets = _secrets_of(parts, key)
        self._urls = _addresses(parts, call)
        self._at = 0
        self._is_confirmed = False
        self._lock = threading.Lock()
        self.headers = _headers(parts, key)

    @property
    def url(self) -> str:
        """The address to ask at."""
        return self._urls[self._at]

    @property
    def name(self) -> str:
        """For messages: the address without its query."""
        return f"endpoint {_shown(self.url)}"

    def hide(self, message: str) -> str:
        """A message without the key and the URL's password and options, should they be in it."""
        message = redact_urls(message)
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return message

    def confirm(self) -> None:
        """Note that the address is the right one: later errors don't change it."""
        self._is_confirmed = True

    def moves_on(self, asked: str, status: int, location: str | None, message: str) -> bool:
        """Whether the call is to be asked for again, at what is now `url`.

        Args:
            asked: the address that answered.
            status: of the answer.
            location: its header of that name.
            message: its error. A 404 that speaks of a model comes from the right address.
        """
        with self._lock:
            if self._is_confirmed:
                return False
            at = self._urls.index(asked)
            if status in _MOVED and location:
                target = _target(asked, location)
                if target is None or len(self._urls) == _MAX_ADDRESSES:
                    return False
                if target not in self._urls:
                    self._urls.insert(at + 1, target)
            elif status not in _MISSING or "model" in message.lower():
                return False
            self._at = max(self._at, min(at + 1, len(self._urls) - 1))
            return self._at > at


def split_address(url: str, setting: str = "endpoint") -> SplitResult:
    """The parts of an http address, blanks around it removed.

    Raises:
        ConfigError: it is none; the message holds no secret.
    """
    cleaned = url.strip().strip("\"'")
    try:
        parts = urlsplit(cleaned)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
        _ = (parts.hostname or "").encode("idna")  # as the resolver does: labels of 1 to 63
    except ValueError:  # whose message may hold a part of a password
        is_usable = False
    if not is_usable or not cleaned.isprintable() or " " in cleaned:
        raise ConfigError(f"{setting} {redacted(cleaned)!r} is not an http:// or https:// address")
    return parts


def clean_key(key: str | None) -> str | None:
    """A key without the blanks, line breaks and quotes around it; None if nothing is left.

    Raises:
        ConfigError: it can't stand in a header.
    """
    cleaned = (key or "").strip().strip("\"'").strip()
    if not (cleaned.isascii() and cleaned.isprintable()):
        raise ConfigError("the endpoint's key has characters other than printable ASCII")
    return cleaned or None


def holds_secret(url: str) -> bool:
    """Whether an address has a user, or options whose names speak of keys."""
    head, _, query = url.partition("?")
    return "@" in head or any(_SECRET_NAME.search(name) for name, _ in parse_qsl(query))


def describe_redirect(location: str | None) -> str:
    """Where an answer points instead, for messages."""
    return f"it points to {_shown(location)}" if location else "it points nowhere"


def _addresses(parts: SplitResult, call: str) -> list[str]:
    """Where the call may be, the most probable first."""
    path = parts.path.rstrip("/")
    base = next((path.removesuffix(f"/{one}") for one in _CALLS if path.endswith(f"/{one}")), None)
    if base is not None or _VERSION.search(path):
        paths = [f"{path if base is None else base}/{call}"]
    elif path:
        paths = [f"{path}/{call}", f"{path}/v1/{call}"]
    else:
        paths = [f"/v1/{call}", f"/{call}"]
    place = parts.netloc.rpartition("@")[2]
    return [urlunsplit((parts.scheme, place, one, parts.query, "")) for one in paths]


def _headers(parts: SplitResult, key: str | None) -> dict[str, str]:
    if key is None:
        if "@" not in parts.netloc:
            return {}
        user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        return {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
    # With a scheme of its own it is a whole header.
    headers = {"Authorization": key if _SCHEMES.match(key) else f"Bearer {key}"}
    if _API_VERSION in dict(parse_qsl(parts.query)):
        headers["api-key"] = key  # Azure's
    return headers


def _secrets_of(parts: SplitResult, key: str | None) -> list[str]:
    given = [key and _SCHEMES.sub("", key), parts.password, unquote(parts.password or "")]
    given += [value for name, value in parse_qsl(parts.query) if name != _API_VERSION]
    found = {one for one in given if one and len(one) >= _MIN_SECRET_CHARACTERS}
    return sorted(found, key=len, reverse=True)


def _target(asked: str, location: str) -> str | None:
    """Where an answer points, if the key may be sent there; None if not, or if it is no address."""
    try:
        target = urljoin(asked, location)
        return target if _is_same_server(asked, target) else None
    except ValueError:  # half an IPv6 address
        return None


def _is_same_server(asked: str, target: str) -> bool:
    """Whether the key may be sent there: to the same server, or from its http to its https."""
    one, other = urlsplit(asked), urlsplit(target)
    if one.hostname != other.hostname:
        return False
    return one[:2] == other[:2] or (one.scheme, other.scheme) == ("http", "https")


def _shown(url: str) -> str:
    return redacted(url if "@" in url else url.partition("?")[0])
