"""Ports for servers that tests start a moment later."""

from __future__ import annotations

import socket
import sys

_HELD: list[socket.socket] = []


def free_ports(n: int) -> list[int]:
    """Ports that only who is told of them can listen on, until this process ends.

    A port that was free a moment ago is given to whoever asks for any before the server listens,
    and three workers ask all the time. Linux gives nobody a port that is bound already, and lets a
    server listen on it by its number where neither side minds, as servers do by SO_REUSEADDR.
    """
    ports = []
    for _ in range(n):
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        ports.append(probe.getsockname()[1])
        _HELD.append(probe)
    if sys.platform != "linux":
        while _HELD:
            _HELD.pop().close()
    return ports


def free_port() -> int:
    """One such port."""
    [port] = free_ports(1)
    return port
