"""Settings from the environment, prefix LONGTAIL_; a wrong one ends the start with one line.

Every field's description is its documentation: the reference in the docs is tested against it.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    InstanceOf,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from app.bundle_settings import BundleSettings
from app.telemetry.logs import LogFormat
from model_store.admin_api import clean_token
from model_store.embedded import store_folder
from model_store.errors import ConfigError
from model_store.store_url import StoreUrl

PREFIX = "LONGTAIL_"

# Variables of other packages: known, so no warning, but not read here.
KNOWN_ELSEWHERE = frozenset(
    {
        "LONGTAIL_CACHE_DIR",
        "LONGTAIL_CALLER_KEY",
        "LONGTAIL_DATA",
        "LONGTAIL_LLM_API_KEY",
        "LONGTAIL_URL",
    }
)

MIN_TOKEN_CHARACTERS = 8
# Their values are secrets.
HIDDEN = frozenset({"admin_token", "bundles_dir", "redis_password", "rerank_api_key", "rerank_url"})

FLAGS = frozenset({"host", "port", "workers"})
"""Settings that `longtail serve` takes as flags too."""

# What Kubernetes sets in every pod for a Service whose name begins with "longtail".
_SERVICE_VARIABLE = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)"
)
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://.*")


class Settings(BundleSettings):
    """What an operator may choose; each field is the variable LONGTAIL_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore")

    redis_password: SecretStr | None = Field(
        default=None,
        description="Password of the store, in the place of one in LONGTAIL_REDIS_URL; "
        "it needs no percent-encoding.",
    )
    redis_url: Annotated[InstanceOf[StoreUrl], NoDecode] | None = Field(
        default=None,
        description="URL of the Redis-compatible store (redis://, rediss:// or unix://), of a "
        "cluster's nodes (redis+cluster://h1:p1,h2:p2) or of Sentinels "
        "(redis+sentinel://h1:p1,h2:p2/NAME), with TLS options if need be; unset means the "
        "embedded store, started and ended with `longtail serve`.",
    )
    admin_token: SecretStr | None = Field(
        default=None,
        description="Bearer token of the admin endpoints; unset, they are closed but to tokens of "
        "`longtail tokens`.",
    )
    api_keys: Literal["off", "required"] = Field(
        default="off",
        description="Whether callers need a key of `longtail tokens create --role call`; off, "
        "whoever reaches the port may ask.",
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
        description="Longest wait for the store in one request; after that the answer is made "
        "without stored features, which `degraded` names.",
    )
    receive_timeout_ms: float = Field(
        default=10_000,
        gt=0,
        le=600_000,
        description="Longest time in which a request must arrive; after that the answer is 408, "
        "and the connection is closed.",
    )
    shutdown_timeout_ms: int = Field(
        default=10_000,
        ge=0,
        le=600_000,
        description="How long requests under way are waited for when the service is told to end; "
        "past it they are answered 503.",
    )
    max_in_flight: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="Most requests that a worker holds at once, whatever they cost; "
        "further ones get a 429.",
    )
    max_wait_ms: float = Field(
        default=20,
        gt=0,
        le=60_000,
        description="Longest wait of a request for those before it, estimated from the current "
        "cost of an answer; where more requests wait for longer than a burst lasts, further ones "
        "get a 429. Set it higher where the store is far away.",
    )
    remembered_users: int = Field(
        default=10_000,
        ge=0,
        le=10_000_000,
        description="Number of users whose last-read features a worker keeps in memory, "
        "for answers while the store is away.",
    )
    execution_provider: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Where the sequence model runs: auto takes a CUDA device if one can be used; "
        "cuda rejects a model that can't use one. /health/ready names the provider in use.",
    )
    rerank_wait_ms: float = Field(
        default=25,
        ge=0,
        le=10_000,
        description="Longest wait of a request for the reranker; the request's deadline can "
        "shorten it. An answer that comes later goes into the cache. With 0 the cache alone is "
        "waited for, 5 ms at most.",
    )
    rerank_cache_entries: int = Field(
        default=100_000,
        ge=1,
        le=100_000_000,
        description="Limit on the reranker's answers that the store keeps for each version; the "
        "oldest go. One takes about 300 bytes.",
    )
    rerank_cache_s: int = Field(
        default=7 * 24 * 3600,
        ge=1,
        le=10 * 365 * 24 * 3600,
        description="How long an answer of the reranker is used.",
    )
    rerank_max_in_flight: int = Field(
        default=16,
        ge=1,
        le=1_000,
        description="Limit on the jobs that each worker has given to the reranker at a time; "
        "answers beyond it are not reranked.",
    )
    watch_interval_ms: float = Field(
        default=500,
        ge=10,
        le=60_000,
        description="How often a worker looks for a new active version, for fresh items and for "
        "changes of items.",
    )
    session_prefix: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None,
        description="User ids that begin with this are of anonymous sessions, whose events have a "
        "time to live; unset, there are none.",
    )
    session_ttl_s: int = Field(
        default=86_400,
        ge=1,
        le=366 * 86_400,
        description="How long the events of a session are kept after the last of them.",
    )
    event_log_entries: int = Field(
        default=1_000_000,
        ge=0,
        le=1_000_000_000,
        description="Limit on the entries of the event log that the store keeps for `longtail "
        "events archive`; the oldest go. One holds what a user did in one request, in about 150 "
        "bytes. 0 keeps none.",
    )
    exposure_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the answers that are kept for the archive, by request: who was shown "
        "which items, by which version. Their log has the limit of that of events, in answers.",
    )
    explore_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the requests to /recommend whose first ranks are drawn at random by "
        "the scores, so that estimates from logs are possible; the probabilities go into the "
        "answer and into the log of exposures.",
    )
    explore_temperature: float = Field(
        default=1.0,
        gt=0,
        le=1_000,
        allow_inf_nan=False,
        description="What the scores are divided by for these: the higher, the more alike are the "
        "probabilities of the items.",
    )
    explore_ranks: int = Field(
        default=3,
        ge=1,
        le=100,
        description="How many of the first ranks are drawn; the others follow by score.",
    )
    explore_candidates: int = Field(
        default=100,
        ge=2,
        le=10_000,
        description="How many of the best items are drawn from.",
    )
    rerank: bool = Field(
        default=True,
        description="Whether the reranker's process is started; off leaves it out, and answers "
        "are the recommender's.",
    )
    rerank_threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Threads that compute in the reranker's process; 0 means one a core, at most "
        "four.",
    )
    rerank_priority: Literal["lowest", "normal"] = Field(
        default="lowest",
        description="Priority of the reranker's process for the CPU: lowest computes when nothing "
        "else wants to; normal is for cores or a device of its own.",
    )
    rerank_url: SecretStr | None = Field(
        default=None,
        description="URL of an endpoint that reranks in the place of the bundle's own language "
        "model; it may hold a password, and is never logged in full.",
    )
    rerank_api: Literal["completions", "rerank"] = Field(
        default="completions",
        description="The endpoint's form: completions is OpenAI's /v1/completions with logprobs, "
        "rerank is the /v1/rerank of Jina and Cohere.",
    )
    rerank_model: str | None = Field(
        default=None, description="Name of the model at the endpoint; unset, none is sent."
    )
    rerank_api_key: SecretStr | None = Field(
        default=None, description="Bearer token for the endpoint; never logged."
    )
    rerank_timeout_ms: float = Field(
        default=10_000,
        gt=0,
        le=600_000,
        description="Longest time for an endpoint's whole answer to one request.",
    )
    rerank_socket: Path | None = Field(
        default=None,
        description="Unix socket of a reranker's process that something else runs; unset means "
        "one that starts and ends with `longtail serve`.",
    )
    traces: Literal["off", "otlp"] = Field(
        default="off",
        description="Whether traces of requests go to a collector of OpenTelemetry; its own "
        "variables (OTEL_EXPORTER_OTLP_ENDPOINT …) say which. Needs the extra `traces`.",
    )
    traces_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of the requests that are traced; a caller's `traceparent` comes first.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe message that is logged, on stderr."
    )
    log_format: LogFormat = Field(
        default="text",
        description="Form of a log line: text for people, json for machines (time, level, logger, "
        "process, message, and where there are any request_id and exception).",
    )

    @field_validator("redis_url", mode="before")
    @classmethod
    def _read_url(cls, url: object, info: ValidationInfo) -> object:
        password: SecretStr | None = info.data.get("redis_password")
        if not isinstance(url, str):
            return url
        return StoreUrl.parse(url, password.get_secret_value() if password else None)

    @field_validator("rerank_url")
    @classmethod
    def _usable_url(cls, url: SecretStr | None) -> SecretStr | None:
        cleaned = url.get_secret_value().strip() if url else ""
        if not cleaned:
            return None
        try:
            parts = urlsplit(cleaned)
            is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:  # whose message may hold a part of a password
            is_usable = False
        if not is_usable:
            raise ValueError("is not an http:// or https:// address")
        return SecretStr(cleaned)

    @field_validator("rerank_api_key")
    @classmethod
    def _usable_key(cls, key: SecretStr | None) -> SecretStr | None:
        return None if key is None else clean_token(key.get_secret_value())

    @field_validator("traces")
    @classmethod
    def _installed(cls, traces: str) -> str:
        if traces != "off" and not _can_trace():
            raise ValueError("needs OpenTelemetry: pip install 'longtail[serve,traces]'")
        return traces

    @field_validator("admin_token")
    @classmethod
    def _usable_token(cls, token: SecretStr | None) -> SecretStr | None:
        cleaned = None if token is None else clean_token(token.get_secret_value())
        if cleaned is not None and len(cleaned.get_secret_value()) < MIN_TOKEN_CHARACTERS:
            raise ValueError(f"has fewer than {MIN_TOKEN_CHARACTERS} characters")
        return cleaned

    @model_validator(mode="before")
    @classmethod
    def _without_service_url(cls, given: Any) -> Any:
        """Ignore the port that Kubernetes sets for a Service named longtail."""
        if isinstance(given, dict) and _SERVICE_URL.fullmatch(str(given.get("port"))):
            return {name: value for name, value in given.items() if name != "port"}
        return given


def _can_trace() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # not even the packages around it
        return False


def read_settings(**overrides: object) -> Settings:
    """Settings from the environment; `overrides` (from flags) win, None means not given.

    Raises:
        ConfigError: one line naming the variable, or the flag, and its value.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        shown = "(hidden)" if name in HIDDEN else repr(first["input"])
        reason = first["msg"].removeprefix("Value error, ")
        where = (
            f"--{name} {shown}"
            if name in given and name in FLAGS
            else f"{PREFIX}{name.upper()}={shown}"
        )
        raise ConfigError(f"{where}: {reason}") from None


def describe_ignored_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """One warning line for each LONGTAIL_ variable that nothing reads, with the nearest name.

    Variables that Kubernetes sets for a Service are no mistake. Only one of them has the name of a
    setting, and causes a warning.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields} | KNOWN_ELSEWHERE
    found = os.environ if environment is None else environment
    lines = []
    for name in sorted(name for name in found if name.startswith(PREFIX)):
        value = found[name]
        is_service_url = name.endswith("PORT") and _SERVICE_URL.fullmatch(value)
        if is_service_url and name in known:
            lines.append(
                f"{name}={value!r} is ignored: Kubernetes sets it for a Service of this name "
                "(enableServiceLinks: false in the pod turns that off)"
            )
        elif name not in known and not is_service_url and not _SERVICE_VARIABLE.fullmatch(name):
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            lines.append(f"{name} is not a setting; the nearest is {nearest[0]}")
    return lines
