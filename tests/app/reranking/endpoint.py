"""A real HTTP server for one kind of answer, as bytes."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias


@dataclass
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: Any


# Pieces of an answer; a number is a pause in seconds.
Pieces: TypeAlias = list[bytes | float]
Answer: TypeAlias = Callable[[Asked], Pieces]


@dataclass
class Server:
    """A server on a port, with the requests so far."""

    port: int
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def response(
    document: Any, status: int = 200, *, content: bytes | None = None, headers: str = ""
) -> Pieces:
    """An answer in whole."""
    body = json.dumps(document).encode() if content is None else content
    head = f"HTTP/1.1 {status} Some\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return [head.encode() + body]


def read(file: BinaryIO) -> Asked:
    """A request.

    Raises:
        EOFError: it ends before its end.
    """
    first, headers = file.readline(), dict[str, str]()
    while (line := file.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    n_bytes = int(headers.get("content-length", 0))
    content = file.read(n_bytes)
    if not content or len(content) < n_bytes:
        raise EOFError
    return Asked(first.split()[1].decode(), headers, json.loads(content))


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    """A server, one thread a connection; each connection has one request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=respond, args=(connection,), daemon=True).start()

        def respond(connection: socket.socket) -> None:
            with connection, connection.makefile("rb") as file:
                try:
                    asked = read(file)
                except (OSError, EOFError):
                    return  # the other side has ended
                server.asked.append(asked)
                try:
                    for piece in answer(asked):
                        if isinstance(piece, bytes):
                            connection.sendall(piece)
                        else:
                            time.sleep(piece)
                except OSError:
                    pass  # the other side has had enough

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
