"""Kafka's brokers: where they are, how one is let in, and what is said of their errors."""

from __future__ import annotations

import logging
import ssl
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from model_store.errors import ConfigError, LongtailError
from offline.config_file import read_toml

REQUEST_S = 10.0
"""So long brokers may take for an answer; a message that none has confirmed by then has failed."""


class KafkaAway(LongtailError):  # noqa: N818 - reads as a state, as StoreAway does
    """Brokers can't be reached, or reject what was asked of them."""


class Credentials(BaseModel):
    """What a file of `--config` holds; the names of the files are relative to the current folder.

    Attributes:
        security_protocol: as Kafka names it.
        sasl_mechanism, username, password: with SASL_PLAINTEXT and SASL_SSL.
        ca_file: authorities, in the place of the system's, with SSL and SASL_SSL.
        cert_file, key_file, key_password: our certificate, where brokers want one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = Field(default=None, min_length=1)
    password: SecretStr | None = Field(default=None, min_length=1)
    ca_file: str | None = Field(default=None, min_length=1)
    cert_file: str | None = Field(default=None, min_length=1)
    key_file: str | None = Field(default=None, min_length=1)
    key_password: SecretStr | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        sasl = (self.sasl_mechanism, self.username, self.password)
        if self.security_protocol.startswith("SASL"):
            if None in sasl:
                raise ValueError(
                    f"{self.security_protocol} needs sasl_mechanism, username and password"
                )
        elif sasl != (None, None, None):
            raise ValueError(
                "sasl_mechanism, username and password need security_protocol SASL_PLAINTEXT or "
                "SASL_SSL"
            )
        tls = (self.ca_file, self.cert_file, self.key_file, self.key_password)
        if not self.security_protocol.endswith("SSL") and tls != (None,) * 4:
            raise ValueError(
                "ca_file, cert_file, key_file and key_password need security_protocol SSL or "
                "SASL_SSL"
            )
        if self.cert_file is None and (self.key_file or self.key_password):
            raise ValueError("key_file and key_password need cert_file")
        return self


@dataclass(frozen=True)
class Brokers:
    """Where brokers are, and how one is let in.

    Attributes:
        addresses: HOST:PORT, with commas between several.
        credentials: for them.
    """

    addresses: str
    credentials: Credentials

    def options(self) -> dict[str, Any]:
        """As aiokafka's clients take them.

        Raises:
            ConfigError: a file of a certificate can't be used.
        """
        given = self.credentials
        options: dict[str, Any] = {
            "bootstrap_servers": self.addresses.split(","),
            "client_id": "longtail",
            "request_timeout_ms": round(REQUEST_S * 1e3),
            "security_protocol": given.security_protocol,
        }
        if given.sasl_mechanism is not None and given.password is not None:
            options["sasl_mechanism"] = given.sasl_mechanism
            options["sasl_plain_username"] = given.username
            options["sasl_plain_password"] = given.password.get_secret_value()
        if given.security_protocol.endswith("SSL"):
            options["ssl_context"] = _tls(given)
        return options

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn aiokafka's errors into KafkaAway.

        Args:
            what: what was asked of the brokers, to begin the line with.
        """
        from aiokafka.errors import IncompatibleBrokerVersion, KafkaError

        try:
            yield
        except IncompatibleBrokerVersion as error:
            raise KafkaAway(f"{what}: {self.addresses}: not a broker that is known") from error
        except (KafkaError, OSError) as error:
            raise KafkaAway(f"{what}: {self.addresses}: {_reason(error)}") from error


def read_credentials(path: Path | None) -> Credentials:
    """The content of a TOML file, or the default without one.

    Raises:
        ConfigError: it can't be read, or a key or value in it is wrong; no value is shown.
    """
    if path is None:
        return Credentials()
    try:
        return Credentials.model_validate(read_toml(path))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        where = str(error).rpartition("(")[2].rstrip(")")  # the rest may quote a secret
        raise ConfigError(f"--config {path}: not TOML ({where})") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"--config {path}: {key + ': ' if key else ''}{reason}") from None


def check_installed() -> None:
    """Look whether the extra `kafka` is there, and have its library say nothing by itself.

    Raises:
        ConfigError: it is not.
    """
    try:
        import aiokafka  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "aiokafka":
            raise
        raise ConfigError(
            "Kafka needs the package 'aiokafka': pip install 'longtail[kafka]'"
        ) from None
    # Of one broker that is away it writes many lines; commands say it in one.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)


def _tls(given: Credentials) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=given.ca_file)
    except OSError as error:
        raise ConfigError(f"ca_file {given.ca_file!r}: {error.strerror or error}") from None
    if given.cert_file is not None:
        password = given.key_password.get_secret_value() if given.key_password else ""
        try:
            context.load_cert_chain(given.cert_file, given.key_file, password)
        except OSError as error:
            files = " with key_file ".join(
                repr(one) for one in (given.cert_file, given.key_file) if one
            )
            raise ConfigError(f"cert_file {files}: {error.strerror or error}") from None
    return context


def _reason(error: Exception) -> str:
    """What aiokafka says, in a line; of some errors it is the name alone."""
    text = " ".join(str(error).split())
    if "Unable to bootstrap from" in text:
        return "can't be reached, or lets nobody in without the right --config"
    return text or type(error).__name__
