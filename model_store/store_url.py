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

_OF_SEVERAL = ("redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
_SCHEMES = ("redis", "rediss", "unix", *_OF_SEVERAL)
_HINT = (
    "a user or password that holds one of / ? # [ ] @ : % has to be percent-encoded, "
    f"or the password be given as {PASSWORD_SETTING}"
)
_OWN_OPTIONS = ("db", "username", "password", "sentinel_username", "sentinel_password")
_SENTINELS_PORT = 26379

Host = tuple[str, int]


class StoreUrl:
    """Address and credentials of the store; its text hides the password.

    Attributes:
        path: Unix socket; None for TCP.
        hosts: name and port of the server, of some nodes of a cluster, or of the Sentinels; names
            are resolved for every connection.
        service: the name by which Sentinels know the primary; None for other stores.
        db: number of the database.
        username: None for the default user.
        password: None where none is needed.
        sentinel_username, sentinel_password: for the Sentinels.
        tls: None for plain TCP.
    """

    __slots__ = (
        *("db", "hosts", "password", "path", "scheme", "service", "tls", "username"),
        *("sentinel_password", "sentinel_username"),
    )

    def __init__(
        self,
        scheme: str,
        *,
        hosts: tuple[Host, ...] = (("localhost", 6379),),
        path: str | None = None,
        service: str | None = None,
        db: int = 0,
        username: str | None = None,
        password: str | None = None,
        sentinel_username: str | None = None,
        sentinel_password: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        self.scheme = scheme
        self.hosts = hosts
        self.path = path
        self.service = service
        self.db = db
        self.username = username
        self.password = password
        self.sentinel_username = sentinel_username
        self.sentinel_password = sentinel_password
        self.tls = tls

    @property
    def host(self) -> str:
        """The first host."""
        return self.hosts[0][0]

    @property
    def port(self) -> int:
        """The first host's port."""
        return self.hosts[0][1]

    @property
    def is_cluster(self) -> bool:
        """Whether it names nodes of a cluster."""
        return self.scheme.endswith("+cluster")

    def node(self, host: str, port: int) -> StoreUrl:
        """One server of a cluster, or the primary of Sentinels, with the same credentials."""
        return StoreUrl(
            self.scheme.partition("+")[0],
            hosts=((host, port),),
            db=self.db,
            username=self.username,
            password=self.password,
            tls=self.tls,
        )

    def sentinel(self, host: str, port: int) -> StoreUrl:
        """One Sentinel, with the credentials of Sentinels."""
        return StoreUrl(
            self.scheme.partition("+")[0],
            hosts=((host, port),),
            username=self.sentinel_username,
            password=self.sentinel_password,
            tls=self.tls,
        )

    @classmethod
    def parse(cls, text: str, password: str | None = None) -> StoreUrl:
        """Read a redis://, redis+cluster:// or redis+sentinel:// URL, with rediss too, or unix://.

        Args:
            text: the URL.
            password: the one that LONGTAIL_REDIS_PASSWORD gives; the URL may hold it instead.

        Raises:
            ConfigError: it is invalid, has an unknown option, or names a file that can't be used;
                one line without secrets.
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
        options = [f"db={self.db}"] if self.db and (self.path or self.service) else []
        for name in ("sentinel_username", "sentinel_password"):
            value = getattr(self, name)
            if value and (reveal or name == "sentinel_username"):
                options.append(f"{name}={quote(value, safe='')}")
        options += self.tls.options(reveal=reveal) if self.tls else []
        query = f"?{'&'.join(options)}" if options else ""
        return f"{self.scheme}://{user}{'@' if user else ''}{self._place()}{query}"

    def _place(self) -> str:
        if self.path:
            return quote(self.path)
        hosts = ",".join(shown_host(host, port) for host, port in self.hosts)
        if self.is_cluster:
            return hosts
        return f"{hosts}/{quote(self.service, safe='') if self.service else self.db}"


def shown_host(host: str, port: int) -> str:
    """A host and its port, as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
    if not separator or scheme not in _SCHEMES:
        raise ValueError(
            "starts with none of redis://, rediss://, unix://, redis+cluster://, redis+sentinel://"
        )
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        hosts = _read_hosts(parts)
    except ValueError:
        raise ValueError(f"the port is not a number up to 65535; {_HINT}") from None
    if (scheme != "unix" and "@" in rest[len(parts.netloc) :]) or parts.fragment:
        raise ValueError(f"it holds a / ? or # before its last @; {_HINT}")
    options = _read_options(parts.query)
    own = {name: options.pop(name) for name in _OWN_OPTIONS if name in options}
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    username = unquote(user) or own.get("username") or None
    place = _read_place(parts, hosts, own.get("db"))
    if "service" not in place and (unfit := [name for name in own if "sentinel" in name]):
        raise ValueError(f"option {unfit[0]} needs redis+sentinel://")
    return StoreUrl(
        scheme,
        username=username,
        password=_one_password(username, unquote(password) or own.get("password"), given),
        sentinel_username=own.get("sentinel_username"),
        sentinel_password=own.get("sentinel_password"),
        tls=read_tls(options, is_tls=scheme.startswith("rediss")),
        **place,
    )


def _read_hosts(parts: SplitResult) -> tuple[Host, ...]:
    """The hosts; several may be given to a cluster and to Sentinels, with commas."""
    place = parts.netloc.rpartition("@")[2]
    several = place.split(",") if parts.scheme in _OF_SEVERAL else [place]
    default = _SENTINELS_PORT if parts.scheme.endswith("+sentinel") else 6379
    found = []
    for one in several:
        split = urlsplit(f"//{one}")
        host = unquote(split.hostname or "")
        port = split.port
        found.append((host, default if port is None else port))
    return tuple(found)


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


def _read_place(parts: SplitResult, hosts: tuple[Host, ...], db: str | None) -> dict[str, Any]:
    """What the URL says besides user and options, as arguments of `StoreUrl`."""
    if parts.scheme == "unix":
        path = unquote(parts.path)
        if not path or parts.hostname:
            raise ValueError("unix:// needs the absolute path of a socket, as in unix:///run/store")
        return {"path": path, "db": _number(db or "0")}
    in_path = unquote(parts.path).strip("/")
    if parts.scheme in _OF_SEVERAL and not all(host for host, _ in hosts):
        raise ValueError(f"{parts.scheme}:// needs hosts, as in {parts.scheme}://h1:6379,h2:6379")
    if parts.scheme.endswith("+cluster"):
        if in_path.strip("0") or (db or "0").strip("0"):
            raise ValueError("a cluster has no other database than 0")
        return {"hosts": hosts}
    if parts.scheme.endswith("+sentinel"):
        if not in_path or "/" in in_path:
            raise ValueError(
                f"{parts.scheme}:// needs the name by which the Sentinels know the primary, as in "
                f"{parts.scheme}://h1:26379,h2:26379/NAME"
            )
        return {"hosts": hosts, "service": in_path, "db": _number(db or "0")}
    if db and in_path and db != in_path:
        raise ValueError("names two databases, in its path and as db=")
    [(host, port)] = hosts
    return {"hosts": ((host or "localhost", port),), "db": _number(db or in_path or "0")}


def _number(db: str) -> int:
    if not re.fullmatch(r"\d{1,9}", db, re.ASCII):
        raise ValueError(f"database {db[:40]!r} is not a number")
    return int(db)
