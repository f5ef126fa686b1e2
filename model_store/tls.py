"""TLS options of the store's URL: the same ones for every client."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote

CertReqs = Literal["none", "optional", "required"]
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
OPTIONS = (*_FILES, "ssl_ca_path", "ssl_password", "ssl_cert_reqs", "ssl_check_hostname")


@dataclass(frozen=True)
class Tls:
    """Certificates of the store and of the client.

    Attributes:
        ssl_ca_certs: file of authorities, in addition to those of the system.
        ssl_ca_path: folder of authorities.
        ssl_certfile: our certificate.
        ssl_keyfile: its key, where that isn't in the same file.
        ssl_password: of the key.
        ssl_cert_reqs: whether the store needs a certificate.
        ssl_check_hostname: whether that has to name the host.
    """

    ssl_ca_certs: str | None = None
    ssl_ca_path: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = field(default=None, repr=False)
    ssl_cert_reqs: CertReqs = "required"
    ssl_check_hostname: bool = True

    def client_options(self) -> dict[str, Any]:
        """As redis-py takes them."""
        return {"ssl": True} | {name: getattr(self, name) for name in OPTIONS}

    def context(self) -> ssl.SSLContext:
        """For asyncio, with the same meaning.

        Raises:
            ValueError: a file can't be used; the message names the option and the file.
        """
        context = ssl.create_default_context()
        if not self.ssl_check_hostname or self.ssl_cert_reqs == "none":
            context.check_hostname = False
        context.verify_mode = {
            "none": ssl.CERT_NONE,
            "optional": ssl.CERT_OPTIONAL,
            "required": ssl.CERT_REQUIRED,
        }[self.ssl_cert_reqs]
        if self.ssl_ca_certs or self.ssl_ca_path:
            with _named("ssl_ca_certs", self.ssl_ca_certs or self.ssl_ca_path):
                context.load_verify_locations(self.ssl_ca_certs, self.ssl_ca_path)
        if self.ssl_certfile:
            with _named("ssl_certfile", self.ssl_certfile):
                context.load_cert_chain(
                    self.ssl_certfile, self.ssl_keyfile, self.ssl_password or ""
                )
        return context

    def options(self, *, reveal: bool = False) -> list[str]:
        """Options that differ from the default, as in a URL; the password only if revealed."""
        default = Tls()
        return [
            f"{name}={quote(str(getattr(self, name)), safe='/')}"
            for name in OPTIONS
            if (reveal or name != "ssl_password") and getattr(self, name) != getattr(default, name)
        ]


def read_tls(options: Mapping[str, str], *, is_tls: bool) -> Tls | None:
    """TLS options out of a URL's query, checked with the files they name.

    Raises:
        ValueError: one is unknown, or can't be used; the message names it.
    """
    for name in options:
        if name not in OPTIONS:
            known = ", ".join(("db", "username", "password", *OPTIONS))
            raise ValueError(f"option {name} is not known; known are {known}")
        if not is_tls:
            raise ValueError(f"option {name} needs rediss://")
    if not is_tls:
        return None
    values: dict[str, Any] = dict(options)
    if "ssl_check_hostname" in values:
        values["ssl_check_hostname"] = _boolean("ssl_check_hostname", values["ssl_check_hostname"])
    if "ssl_cert_reqs" in values:
        values["ssl_cert_reqs"] = _cert_reqs(values["ssl_cert_reqs"])
    for name in _FILES:
        if name in values:
            _check_file(name, values[name])
    if "ssl_keyfile" in values and "ssl_certfile" not in values:
        raise ValueError("option ssl_keyfile needs ssl_certfile")
    tls = Tls(**values)
    tls.context()
    return tls


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in _BOOLEANS:
        raise ValueError(f"option {name}={value[:40]!r} is neither true nor false")
    return _BOOLEANS[value.lower()]


def _cert_reqs(value: str) -> CertReqs:
    requirement = value.lower().removeprefix("cert_")
    if requirement not in ("none", "optional", "required"):
        raise ValueError(f"option ssl_cert_reqs={value[:40]!r} is none of none, optional, required")
    return cast(CertReqs, requirement)


def _check_file(name: str, path: str) -> None:
    with _named(name, path), Path(path).open("rb"):
        pass


@contextmanager
def _named(name: str, path: str | None) -> Iterator[None]:
    """Name the option and the file that the block can't use."""
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"option {name}={path!r}: {error.strerror or error}") from None
