"""A port that a test was told of is nobody else's until the server listens."""

from __future__ import annotations

import socket
import sys

import pytest

from tests.free_ports import free_ports


@pytest.mark.skipif(sys.platform != "linux", reason="what a bound port is differs by system")
def test_a_port_is_for_who_is_told_of_it() -> None:
    ports = free_ports(3)
    assert len({*ports}) == 3
    for port in ports:
        for _ in range(2):  # also once more, as a server that was killed
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            with socket.create_server(("127.0.0.1", port)) as server:
                socket.create_connection(("127.0.0.1", port)).close()
                server.accept()[0].close()
