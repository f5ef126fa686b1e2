"""The URL of the store: read in one place for all clients, and never shown with its secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from model_store.errors import ConfigError
from model_store.redaction import redacted
from model_store.tls import Tls, read_tls

SETTING = "LONGTAIL_REDIS_URL"
PASSWORD_SETTING = "LONGTAIL_REDIS_PASSWORD"  # noqa: S105 - the variable's name

_SCHEMES = ("redis", "rediss", "unix")
_LATER = ("redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
_HINT = (
    "a user or password that holds one of / ? # [ ] @ : % has to be percent-encoded, "
    f"or the password be given as {PASSWORD_SETTING}"
)
_OWN_OPTIONS = ("db", "username", "password")


class StoreUrl:
    """Address and credentials of the store; its text hides the password.

    Attributes:
        path: Unix socket; None for TCP.
        host: resolved for every connection.
        port: of TCP.
        db: number of the database.
        username: None for the default user.
        password: None where none is needed.
        tls: None for plain TCP.
    """

    __slots__ = ("db", "host", "password", "path", "port", "scheme", "tls", "username")

    def __init__(
        self,
        scheme: str,
        *,
        host: str = "localhost",
        port: int = 6379,
        path: str | None = None,
        db: int = 0,
        username: str | None = None,
        password: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.db = db
        self.username = username
        self.password = password
        self.tls = tls

    @classmethod
    def parse(cls, text: str, password: str | None = None) -> StoreUrl:
        """Read a redis://, rediss:// or unix:// URL.

        Args:
            text: the URL.
            password: the one that LONGTAIL_REDIS_PASSWORD gives; the URL may hold it instead.

        Raises:
            ConfigError: it is invalid, has an unknown option, or names a file that can't be used;
                one
                line without secrets.
        """
        text = text.strip()
        try:
            return _parse(text, (password or "").rstrip("\r\n") or None)
        except ValueError as error:
            raise ConfigError(f"{SETTING}={redacted(text)!r}: {error}") from None

    def __str__(self) -> str:
        """The URL without its password."""
        return self._shown("***" if self.password else None, reveal=False)

    __repr__ = __str__

    def reveal(self) -> str:
        """The URL with its password, for the environment of a process of ours."""
        password = quote(self.password, safe="") if self.password else None
        return self._shown(password, reveal=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoreUrl) and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())

    def _shown(self, password: str | None, *, reveal: bool) -> str:
        user = quote(self.username or "", safe="")
        if password is not None:
            user += f":{password}"
        options = [f"db={self.db}"] if self.path and self.db else []
        options += self.tls.options(reveal=reveal) if self.tls else []
        if self.path:
            place = quote(self.path)
        else:
            host = f"[{self.host}]" if ":" in self.host else self.host
            place = f"{host}:{self.port}/{self.db}"
        query = f"?{'&'.join(options)}" if options else ""
        return f"{self.scheme}://{user}{'@' if user else ''}{place}{query}"


def store_url_from(environment: Mapping[str, str] | None = None) -> StoreUrl | None:
    """The store of the environment; None if it names none.

    Raises:
        ConfigError: the URL can't be used.
    """
    found = os.environ if environment is None else environment
    text = found.get(SETTING, "").strip()
    return StoreUrl.parse(text, found.get(PASSWORD_SETTING)) if text else None


def _parse(text: str, given: str | None) -> StoreUrl:
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if separator and scheme in _LATER:
        raise ValueError(f"{scheme}:// can't be used yet; name one server with redis://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError("starts with none of redis://, rediss://, unix://")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port
    except ValueError:
        raise ValueError(f"the port is not a number up to 65535; {_HINT}") from None
    if (scheme != "unix" and "@" in rest[len(parts.netloc) :]) or parts.fragment:
        raise ValueError(f"it holds a / ? or # before its last @; {_HINT}")
    options = _read_options(parts.query)
    own = {name: options.pop(name) for name in _OWN_OPTIONS if name in options}
    username = unquote(parts.username or "") or own.get("username") or None
    return StoreUrl(
        scheme,
        username=username,
        password=_one_password(
            username, unquote(parts.password or "") or own.get("password"), given
        ),
        tls=read_tls(options, is_tls=scheme == "rediss"),
        **_read_place(parts, port, own.get("db")),
    )


def _read_options(query: str) -> dict[str, str]:
    options = {}
    for name, values in parse_qs(query, keep_blank_values=True).items():
        if len(values) > 1 or not values[0]:
            raise ValueError(f"option {name} needs one value")
        options[name] = values[0]
    return options


def _one_password(username: str | None, own: str | None, given: str | None) -> str | None:
    if own and given and own != given:
        raise ValueError(f"holds another password than {PASSWORD_SETTING}; give one of them")
    password = own or given
    if username and not password:
        raise ValueError(
            f"names user {username!r} without a password; give one as {PASSWORD_SETTING}"
        )
    return password


def _read_place(parts: SplitResult, port: int | None, db: str | None) -> dict[str, Any]:
    if parts.scheme == "unix":
        path = unquote(parts.path)
        if not path or parts.hostname:
            raise ValueError("unix:// needs the absolute path of a socket, as in unix:///run/store")
        return {"path": path, "db": _number(db or "0")}
    in_path = unquote(parts.path).strip("/")
    if db and in_path and db != in_path:
        raise ValueError("names two databases, in its path and as db=")
    return {
        "host": unquote(parts.hostname or "localhost"),
        "port": 6379 if port is None else port,
        "db": _number(db or in_path or "0"),
    }


def _number(db: str) -> int:
    if not re.fullmatch(r"\d{1,9}", db, re.ASCII):
        raise ValueError(f"database {db[:40]!r} is not a number")
    return int(db)
