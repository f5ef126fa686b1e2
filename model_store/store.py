"""The connection to the store: any Redis-compatible server, by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from model_store.errors import ConfigError, StoreAway, StoreError
from model_store.refusals import code_of, explain

_CODES: dict[type[redis.RedisError], str] = {
    redis.exceptions.MovedError: "MOVED",
    redis.exceptions.AskError: "ASK",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.NoPermissionError: "NOPERM",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.MasterDownError: "MASTERDOWN",
}


def connect(url: str, *, timeout_s: float = 5.0) -> redis.Redis:
    """A synchronous client, for commands and for work off the request path.

    Raises:
        ConfigError: the URL is not one that a Redis client understands.
    """
    try:
        return redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    except ValueError as error:
        raise ConfigError(f"LONGTAIL_REDIS_URL {url!r}: {error}") from error


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the client's exceptions into StoreAway or StoreError."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise StoreAway(f"the store can't be reached: {error}") from error
    except redis.RedisError as error:
        raise StoreError(explain(_with_code(error))) from error


def _with_code(error: redis.RedisError) -> str:
    """The error reply as the store sent it: the client removes the code of some."""
    message = str(error)
    for kind, code in _CODES.items():
        if isinstance(error, kind) and code_of(message) != code:
            return f"{code} {message}"
    return message
