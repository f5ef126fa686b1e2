"""The connection to the store: any Redis-compatible server, by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from model_store.error_replies import code_of, explain
from model_store.errors import StoreAway, StoreError
from model_store.store_url import StoreUrl

_CODES: dict[type[redis.RedisError], str] = {
    redis.exceptions.MovedError: "MOVED",
    redis.exceptions.AskError: "ASK",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.NoPermissionError: "NOPERM",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.MasterDownError: "MASTERDOWN",
}


def connect(url: str | StoreUrl, *, timeout_s: float = 5.0) -> redis.Redis:
    """A synchronous client, for commands and for work off the request path.

    Raises:
        ConfigError: the URL is not one of a store.
    """
    at = StoreUrl.parse(url) if isinstance(url, str) else url
    place: dict[str, Any] = (
        {"unix_socket_path": at.path} if at.path else {"host": at.host, "port": at.port}
    )
    return redis.Redis(
        **place,
        **(at.tls.client_options() if at.tls else {}),
        db=at.db,
        username=at.username,
        password=at.password,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.1), 2),
        # After a failover the old primary rejects writes, and the name means another server.
        retry_on_error=[redis.exceptions.ReadOnlyError],
    )


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
