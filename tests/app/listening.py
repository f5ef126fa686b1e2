"""A service that listens in a thread of the tests' process, and raw connections to it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.http.server import Server, server_config
from app.main import LongtailApp, create_app
from app.settings import Settings


@dataclass
class Listening:
    """A running server."""

    port: int
    app: LongtailApp
    server: Server

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def exchange(self, sent: bytes) -> bytes:
        """All that comes until the server closes the connection."""
        with self.connect() as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def listening(settings: Settings, **options: Any) -> Iterator[Listening]:
    app = create_app(settings)
    config = server_config(app, settings)
    for name, value in options.items():
        setattr(config, name, value)
    server = Server(config, app.state.service)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not (server.started and app.state.service.started.is_set()) and thread.is_alive():
            time.sleep(0.01)
        yield Listening(port, app, server)
        server.should_exit = True
        thread.join()


def read_answer(stream: Any) -> tuple[int, dict[str, str], Any]:
    """Status, headers and document of the next answer on a connection."""
    status = int(stream.readline().split()[1])
    headers = {}
    while line := stream.readline().strip().decode():
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    body = stream.read(int(headers["content-length"]))
    return status, headers, json.loads(body)


def post(body: bytes = b'{"history": []}', *, path: str = "/recommend", more: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    head = b"POST %s HTTP/1.1\r\nHost: x\r\n" % path.encode()
    return head + more + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
