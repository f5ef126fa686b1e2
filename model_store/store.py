"""The connection to the store: any Redis-compatible server, by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from model_store.errors import ConfigError, StoreAway, StoreError


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
    """Turn the client's exceptions into ours: away, or refused."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise StoreAway(f"the store can't be reached: {error}") from error
    except redis.RedisError as error:
        raise StoreError(f"the store refused: {error}") from error
