"""The connection to the store: a Redis-compatible server, cluster or Sentinels, by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from model_store.cluster_client import LazyCluster, open_cluster
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
    options: dict[str, Any] = {
        **(at.tls.client_options() if at.tls else {}),
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
    }
    account: dict[str, Any] = {"username": at.username, "password": at.password}
    if at.is_cluster:
        return cast(redis.Redis, open_cluster(at, options | account))
    options["retry"] = Retry(ExponentialBackoff(cap=0.5, base=0.1), 2)
    # After a failover the old primary rejects writes, and the name means another server.
    options["retry_on_error"] = [redis.exceptions.ReadOnlyError]
    if at.service is not None:
        own = {"username": at.sentinel_username, "password": at.sentinel_password}
        # Without types; it asks the Sentinels for each new connection.
        untyped: Any = Sentinel
        # The connection to the primary tries again, and asks the Sentinels each time.
        once = {"retry": Retry(NoBackoff(), 0)}
        sentinels = untyped(at.hosts, sentinel_kwargs=options | own | once)
        client: redis.Redis = sentinels.master_for(at.service, db=at.db, **(options | account))
        return client
    place: dict[str, Any] = (
        {"unix_socket_path": at.path} if at.path else {"host": at.host, "port": at.port}
    )
    return redis.Redis(**place, db=at.db, **account, **options)


def disconnect(client: redis.Redis) -> None:
    """Close the connections that nobody uses just now; the next use opens others."""
    if isinstance(client, LazyCluster):
        client.disconnect()
    else:
        client.connection_pool.disconnect(inuse_connections=False)


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the client's exceptions into StoreAway or StoreError."""
    try:
        yield
    except MasterNotFoundError as error:
        # The rest of it shows the client's innards.
        what, _, _ = str(error).partition(" : ")
        raise StoreAway(f"the Sentinels can't be reached, or know of none: {what}") from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise StoreAway(f"the store can't be reached: {error}") from error
    except (redis.exceptions.SlotNotCoveredError, redis.exceptions.ClusterDownError) as error:
        raise StoreAway(f"the cluster can't be used: {error}") from error
    except redis.exceptions.RedisClusterException as error:
        raise StoreError(f"the cluster can't be used: {error}") from error
    except redis.RedisError as error:
        raise StoreError(explain(_with_code(error))) from error


def _with_code(error: redis.RedisError) -> str:
    """The error reply as the store sent it: the client removes the code of some."""
    message = str(error)
    for kind, code in _CODES.items():
        if isinstance(error, kind) and code_of(message) != code:
            return f"{code} {message}"
    return message
