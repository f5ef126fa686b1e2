"""A server with the chat API of OpenAI, for tests: it says the same of everything, or fails."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Endpoint:
    """The requests to the server, and the faults it has still to show.

    A fault is a status, "hang up" or "dawdle"; None is an answer.
    """

    url: str
    troubles: list[int | str | None] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    body: bytes | None = None
    retry_after: str | None = None


@contextmanager
def serving_endpoint() -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append({**request, "path": self.path})
            state.headers.append(dict(self.headers))
            trouble = state.troubles.pop(0) if state.troubles else None
            if trouble is None:
                question = request["messages"][0]["content"]
                text = f"About {question.split(chr(10))[0]}: people who enjoy it are kind and calm."
                answer = {
                    "choices": [{"message": {"role": "assistant", "content": text}}],
                    "usage": {"completion_tokens": 9},
                }
                self.reply(200, state.body or json.dumps(answer).encode())
                return
            if trouble == "hang up":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if trouble == "dawdle":
                time.sleep(0.5)
                return
            assert isinstance(trouble, int)
            self.reply(trouble, b'{"error": {"message": "not\\nnow"}}')

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if state.retry_after:
                self.send_header("Retry-After", state.retry_after)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
