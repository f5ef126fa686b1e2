"""Real servers that watch each other: a cluster, and a primary with Sentinels."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import redis

from model_store.embedded import _server_binary
from model_store.parent_death import die_with_parent
from tests.free_ports import free_ports

N_SLOTS = 16_384
NODE_TIMEOUT_MS = 800
"""So soon a silent primary counts as failed; a replica takes its place within another second."""
PATIENCE_S = 60.0


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError):
            if condition():
                return
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass
class Server:
    """A server in a folder of its own; it keeps its files when it is killed."""

    folder: Path
    port: int
    lines: Sequence[str]
    arguments: Sequence[str] = ()
    password: str | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "server.conf"
        if not file.exists():  # a Sentinel writes into it what it finds out
            text = [*self.lines, f"port {self.port}", f"dir {self.folder}", 'save ""']
            file.write_text("\n".join([*text, ""]))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [_server_binary(), str(file), *self.arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )

    def client(self) -> Any:
        return redis.Redis(port=self.port, password=self.password, socket_timeout=5)

    def ask(self, *command: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    @property
    def is_primary(self) -> bool:
        return bool(self.client().info("replication")["role"] == "master")

    def kill(self, signal_: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(signal_)
            if signal_ == signal.SIGKILL:
                self.process.wait()
                self.process = None

    def cut_off_replicas(self) -> None:
        """No replica hears of what is written from now on."""
        self.ask("ACL", "SETUSER", "default", "-psync", "-sync")
        self.ask("CLIENT", "KILL", "TYPE", "replica")


@dataclass
class Cluster:
    """Three primaries, each with a replica; they are in `nodes` in this order."""

    nodes: list[Server]
    ids: list[str]
    scheme: str = "redis+cluster"
    options: str = ""

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])
        return f"{self.scheme}://{hosts}{self.options}"

    def client(self) -> redis.RedisCluster:
        [first, *_] = [node for node in self.nodes if node.process is not None]
        return redis.RedisCluster(host="127.0.0.1", port=first.port)

    def primary_of(self, slot: int) -> Server:
        """The node that answers for a slot."""
        found = self.find_primary(slot)
        assert found is not None, slot
        return found

    def find_primary(self, slot: int) -> Server | None:
        """The same, as the first node that is alive says; None: no node."""
        for node in self.nodes:
            if node.process is not None:
                slots = node.ask("CLUSTER SLOTS")
                ports = [port for first, last, (_, port, *_), *_ in slots if first <= slot <= last]
                return next((one for one in self.nodes if [one.port] == ports), None)
        return None

    def id_of(self, node: Server) -> str:
        return self.ids[self.nodes.index(node)]

    def wait_until_whole(self) -> None:
        """Until all nodes are there, and each primary has a replica that follows it."""
        for node in self.nodes:
            if node.process is None:
                node.start()
        for node in self.nodes:
            wait_for(partial(self._is_whole, node), f"{node.port} is not whole")

    def _is_whole(self, node: Server) -> bool:
        state = node.client().cluster("info")
        replication = node.client().info("replication")
        follows = replication.get("master_link_status") == "up"
        led = replication.get("connected_slaves", 0) > 0
        return bool(state["cluster_state"] == "ok" and (led if node.is_primary else follows))


@contextmanager
def running(servers: Sequence[Server]) -> Iterator[None]:
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.kill()


@contextmanager
def cluster(folder: Path, lines: Sequence[str] = ()) -> Iterator[Cluster]:
    """A cluster that is whole; its nodes know each other from their files, so that it is at once.

    Args:
        folder: of its nodes.
        lines: further ones of their configuration.
    """
    ports = free_ports(12)
    ids = [f"{place + 1:040x}" for place in range(6)]
    nodes = [
        Server(
            folder / f"node-{place}",
            ports[place],
            [
                "cluster-enabled yes",
                f"cluster-port {ports[place + 6]}",
                f"cluster-node-timeout {NODE_TIMEOUT_MS}",
                "cluster-replica-validity-factor 0",
                "repl-diskless-sync-delay 0",
                *lines,
            ],
        )
        for place in range(6)
    ]
    for own, node in enumerate(nodes):
        node.folder.mkdir(parents=True)
        known = [
            f"{ids[at]} 127.0.0.1:{ports[at]}@{ports[at + 6]} {'myself,' if at == own else ''}"
            + (
                f"master - 0 0 {at + 1} connected {_first(at)}-{_first(at + 1) - 1}"
                if at < 3
                else f"slave {ids[at - 3]} 0 0 {at - 2} connected"
            )
            for at in range(6)
        ]
        file = "\n".join([*known, "vars currentEpoch 6 lastVoteEpoch 0", ""])
        (node.folder / "nodes.conf").write_text(file)
    with running(nodes):
        found = Cluster(nodes, ids)
        found.wait_until_whole()
        yield found


def _first(primary: int) -> int:
    return primary * N_SLOTS // 3


@dataclass
class Watched:
    """A primary and a replica, and three Sentinels that watch them under the name `shop`."""

    servers: list[Server]
    sentinels: list[Server]
    service: str = field(default="shop", init=False)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.service}"

    @property
    def primary(self) -> Server:
        """The server that the Sentinels name."""
        [alive, *_] = [one for one in self.sentinels if one.process is not None]
        _, port = alive.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        return next(one for one in self.servers if one.port == int(port))


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """A primary with a replica under three Sentinels that know of each other."""
    ports = free_ports(5)
    servers = [
        Server(
            folder / f"server-{place}",
            ports[place],
            ["repl-diskless-sync-delay 0", *([f"replicaof 127.0.0.1 {ports[0]}"] * (place == 1))],
        )
        for place in range(2)
    ]
    sentinels = [
        Server(
            folder / f"sentinel-{place}",
            port,
            [
                f"sentinel monitor shop 127.0.0.1 {ports[0]} 2",
                f"sentinel down-after-milliseconds shop {NODE_TIMEOUT_MS}",
                "sentinel failover-timeout shop 3000",
                f"sentinel myid {place + 1:040x}",
                f"sentinel known-replica shop 127.0.0.1 {ports[1]}",
                *(
                    f"sentinel known-sentinel shop 127.0.0.1 {other} {at + 1:040x}"
                    for at, other in enumerate(ports[2:])
                    if at != place
                ),
            ],
            ["--sentinel"],
        )
        for place, port in enumerate(ports[2:])
    ]
    with running([*servers, *sentinels]):
        found = Watched(servers, sentinels)

        def is_whole(sentinel: Server) -> bool:
            state = sentinel.client().sentinel_master("shop")
            return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)

        wait_for(lambda: servers[1].client().info("replication")["master_link_status"] == "up", "")
        for one in sentinels:
            wait_for(partial(is_whole, one), f"Sentinel {one.port} sees not all others")
        yield found
