"""Settings from the environment, prefix LONGTAIL_; wrong ones are refused at start with one line.

Every field's description is its documentation: the reference in the docs is tested against it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from model_store.embedded import store_folder
from model_store.errors import ConfigError
from model_store.publication import bundles_folder

PREFIX = "LONGTAIL_"

# Variables of other rooms: known, so not warned about, but not this room's to read.
KNOWN_ELSEWHERE = frozenset({"LONGTAIL_CACHE_DIR", "LONGTAIL_DATA", "LONGTAIL_LLM_API_KEY"})


class Settings(BaseSettings):
    """What an operator may choose; each field is the variable LONGTAIL_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore")

    redis_url: str | None = Field(
        default=None,
        description="URL of the Redis-compatible store (redis://, rediss:// or unix://); "
        "unset means the embedded store, started and ended with `longtail serve`.",
    )
    admin_token: SecretStr | None = Field(
        default=None,
        description="Bearer token of the admin endpoints; unset, they are closed.",
    )
    bundles_dir: Path = Field(
        default_factory=bundles_folder,
        description="Folder that holds one folder per bundle version; "
        "unset means model_store/bundles.",
    )
    store_dir: Path = Field(
        default_factory=store_folder,
        description="Folder of the embedded store's data and of the journals of events that "
        "were acknowledged while the store was away; unset means model_store/store.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(default=1, ge=1, le=256, description="Number of worker processes.")
    store_timeout_ms: float = Field(
        default=50,
        gt=0,
        le=60_000,
        description="Longest wait for the store in one request; past it the answer is made "
        "without stored features and says so.",
    )
    max_in_flight: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="Most requests a worker holds at once, whatever they cost; "
        "further ones are answered 429.",
    )
    max_wait_ms: float = Field(
        default=20,
        gt=0,
        le=60_000,
        description="How long a request may have to wait for those before it, reckoned from what "
        "answers cost just now; where more than fit wait for longer than a burst lasts, further "
        "ones are answered 429. More where the store is far away.",
    )
    remembered_users: int = Field(
        default=10_000,
        ge=0,
        le=10_000_000,
        description="Users whose last-read features a worker keeps in memory, "
        "for answers while the store is away.",
    )
    execution_provider: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Where the sequence model runs: auto takes a CUDA device where one can be used "
        "and says in /health/ready what it took; with cuda, a model that can't use one is refused.",
    )
    watch_interval_ms: float = Field(
        default=500,
        ge=10,
        le=60_000,
        description="How often a worker looks for a new active version and for fresh items.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe message that is logged, on stderr."
    )

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("starts with none of redis://, rediss://, unix://")
        return url

    @field_validator("admin_token")
    @classmethod
    def _long_enough(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value()) < 8:
            raise ValueError("has fewer than 8 characters")
        return token


def read_settings(**overrides: object) -> Settings:
    """Settings from the environment; `overrides` (from flags) win, None means not given.

    Raises:
        ConfigError: one line naming the variable and its value.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        shown = "(hidden)" if name == "admin_token" else repr(first["input"])
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{PREFIX}{name.upper()}={shown}: {reason}") from None


def describe_unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """One warning line for each LONGTAIL_ variable that nothing reads, with the nearest name."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | KNOWN_ELSEWHERE
    lines = []
    for name in sorted(os.environ if environment is None else environment):
        if name.startswith(PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            lines.append(f"{name} is not a setting; the nearest is {nearest[0]}")
    return lines
