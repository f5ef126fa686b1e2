"""A server that answers what a test tells it to: faults that no healthy service has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BREAK = "break"
"""Close the connection without an answer."""
HANG = "hang"
"""Answer nothing until the test is over."""


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int = 200
    body: str = '{"status": "live"}'
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class ScriptedServer:
    """Answers in the order of its script, and the last of them for ever."""

    script: list[Answer | str]
    url: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    """Headers of the requests that came."""
    n_connections: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def next(self) -> Answer | str:
        return self.script[min(len(self.requests), len(self.script)) - 1]


@contextmanager
def scripted(*script: Answer | str) -> Iterator[ScriptedServer]:
    server = ScriptedServer(list(script))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.n_connections += 1

        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.requests.append({name.lower(): value for name, value in self.headers.items()})
            answer = server.next()
            if isinstance(answer, str):
                if answer == HANG:
                    server.over.wait(60)
                self.close_connection = True
                return
            self.send_response(answer.status)
            content = answer.body.encode()
            for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - names of the base class

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        server.url = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            listener.shutdown()
            thread.join()
