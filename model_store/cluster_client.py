"""The synchronous client of a cluster: redis-py's, with the names that keys have there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any

import redis.cluster
from redis.crc import key_slot

from model_store.cluster_commands import named
from model_store.keys import in_cluster
from model_store.store_url import StoreUrl

# redis-py's types leave open whether an answer is awaitable, and miss for the most part here.
_RedisCluster: Any = redis.cluster.RedisCluster
_Node: Any = redis.cluster.ClusterNode
_NO_NODE = (redis.exceptions.RedisClusterException, OSError)


class ClusterClient(_RedisCluster):  # type: ignore[misc]
    """redis-py's client of a cluster.

    Several keys that are read or written by one call may lie in any slots, but not in one step.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command."""
        return super().execute_command(*named(args), **options)

    def pipeline(self, transaction: bool | None = None, shard_hint: object = None) -> Any:
        """Commands to be sent together; those of a transaction are of one slot."""
        pipe = super().pipeline(transaction, shard_hint)
        # Which redis-py tells apart by their names: a pipeline has no other place for all of them.
        strategy = pipe._execution_strategy
        send = strategy.execute_command
        strategy.execute_command = lambda *args, **options: send(*named(args), **options)
        return pipe

    def mset(self, mapping: Mapping[str, bytes]) -> bool:
        """Set keys in any slots, to all nodes at once."""
        self._send_all([("SET", name, value) for name, value in mapping.items()])
        return True

    def unlink(self, *names: str | bytes) -> int:
        """Remove keys in any slots, at all nodes at once; how many there were."""
        return sum(self._send_all([("UNLINK", name) for name in names]))

    def delete(self, *names: str | bytes) -> int:
        """As `unlink`."""
        return sum(self._send_all([("DEL", name) for name in names]))

    def _send_all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands of one key each, to all nodes at once; the replies in no order.

        Raises:
            redis.RedisError: a node could not be asked, also after the cluster was looked at again;
                others may have done their part.
        """
        by_node: dict[str, list[tuple[Any, ...]]] = {}
        nodes = {}
        for name, key, *values in commands:
            # Named once for all: redis-py would look for the hash tag again, of each.
            placed, slot = _placed(key)
            node = self.nodes_manager.get_node_from_slot(slot)
            nodes[node.name] = node
            by_node.setdefault(node.name, []).append((name, placed, *values))
        if len(by_node) == 1:
            [(name, own)] = by_node.items()
            return self._send_to(nodes[name], own)
        with ThreadPoolExecutor(max(len(by_node), 1)) as threads:
            sent = [
                threads.submit(self._send_to, nodes[name], own) for name, own in by_node.items()
            ]
            return [reply for one in sent for reply in one.result()]

    def _send_to(self, node: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        try:
            with self.get_redis_connection(node).pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                replies = pipe.execute(raise_on_error=False)
        except (redis.ConnectionError, redis.TimeoutError):
            replies = [redis.ConnectionError()] * len(commands)
        # What the node rejected may be another's by now: one by one, redis-py finds that out.
        return [
            self.execute_command(*command) if isinstance(reply, Exception) else reply
            for command, reply in zip(commands, replies, strict=True)
        ]


def _placed(key: str | bytes) -> tuple[bytes, int]:
    """The name of a key in the cluster, and its slot."""
    if isinstance(key, bytes):
        return key, key_slot(key)
    name, slot = in_cluster(key)
    return name.encode(), slot


class LazyCluster:
    """Opens the client of a cluster when it is first used, as one for a server does.

    Args:
        open_client: called once it is used, again after it failed.
    """

    def __init__(self, open_client: Callable[[], ClusterClient]) -> None:
        self._open = open_client
        self._client: ClusterClient | None = None
        self._lock = Lock()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._opened(), name)

    def _opened(self) -> ClusterClient:
        with self._lock:
            if self._client is None:
                try:
                    self._client = self._open()
                except _NO_NODE as error:
                    raise redis.ConnectionError(str(error)) from error
            return self._client

    def __enter__(self) -> LazyCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the next use opens others."""
        if self._client is not None:
            self._client.close()

    def disconnect(self) -> None:
        """Close the connections that nobody uses just now."""
        for node in self._client.get_nodes() if self._client is not None else ():
            if node.redis_connection is not None:
                node.redis_connection.connection_pool.disconnect(inuse_connections=False)


def open_cluster(url: StoreUrl, options: Mapping[str, Any]) -> LazyCluster:
    """A client of the cluster with these nodes.

    Args:
        url: of the cluster.
        options: of each connection.
    """
    nodes = [_Node(host, port) for host, port in url.hosts]
    return LazyCluster(partial(ClusterClient, startup_nodes=nodes, **options))
