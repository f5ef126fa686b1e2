"""The service that gets the load, if it may."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from loadtest.errors import TargetError


@dataclass(frozen=True)
class Address:
    """Where a service listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Base URL, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def parse_target(url: str, *, owned: bool = False) -> Address:
    """The address of a base URL, if load may be sent there.

    Load harms those who didn't ask for it, so only this machine is a target unless the caller
    declares that the host is theirs.

    Raises:
        TargetError: not an http URL, or another machine and `owned` is false.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError as error:
        raise TargetError(f"{url!r} has no usable port ({error})") from error
    if parts.scheme != "http" or not parts.hostname:
        raise TargetError(f"{url!r} is not a URL like http://127.0.0.1:8000")
    if parts.path.rstrip("/") or parts.query or parts.fragment or parts.username:
        raise TargetError(f"{url!r}: give the base URL only, like http://127.0.0.1:8000")
    if not owned and not is_loopback(parts.hostname):
        raise TargetError(
            f"{parts.hostname} is not this machine: add --i-own-this-host if you may load it"
        )
    return Address(parts.hostname, port)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine; names aren't looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
