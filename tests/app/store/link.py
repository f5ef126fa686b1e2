"""The way to a store, as a network is: it has a length, an end that can move, and interruptions."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from model_store.embedded import EmbeddedStore


class Link:
    """A TCP port that leads to a store, or to a function that makes up replies.

    Args:
        store: what a new connection leads to; may be changed at any time.
        delay_s: half a round trip.
        reply: answers each chunk of commands in the store's place.
        tls: spoken at the near end.
    """

    def __init__(
        self,
        store: EmbeddedStore | None = None,
        *,
        delay_s: float = 0.0,
        reply: Callable[[bytes], bytes] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tls = tls
        self.store = store
        self.delay_s = delay_s
        self.reply = reply
        self.n_connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def close(self) -> None:
        # Closed alone, it lives on in `accept`, which goes on with the next socket of its number.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.n_connections += 1
                if self.reply is not None:
                    threading.Thread(target=self._answer, args=(near,), daemon=True).start()
                    continue
                assert self.store is not None
                if self.tls is not None:
                    try:
                        near = self.tls.wrap_socket(near, server_side=True)
                    except OSError:
                        near.close()
                        continue
                far = socket.socket(socket.AF_UNIX)
                far.connect(self.store.url.removeprefix("unix://"))
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                time.sleep(self.delay_s)
                sink.sendall(chunk)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def _answer(self, near: socket.socket) -> None:
        assert self.reply is not None
        with contextlib.suppress(OSError), near:
            while chunk := near.recv(65536):
                near.sendall(self.reply(chunk))


@contextmanager
def linked(
    store: EmbeddedStore | None = None,
    *,
    delay_s: float = 0.0,
    reply: Callable[[bytes], bytes] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Link]:
    link = Link(store, delay_s=delay_s, reply=reply, tls=tls)
    try:
        yield link
    finally:
        link.close()


def n_commands(chunk: bytes) -> int:
    """How many commands a chunk holds (none of the tests' ids begins with a star)."""
    return chunk.count(b"\r\n*") + 1
