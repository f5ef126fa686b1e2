"""A server with the chat API of OpenAI, for tests: it says the same of everything, or fails."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any]
"""A status, and what is sent with it: bytes, or a JSON document."""


@dataclass
class Endpoint:
    """The requests to the server, and what it answers.

    A trouble is a status, "hang up" or "dawdle"; None is an answer. Troubles come first, then what
    `answers` gives for the JSON of a request, with its path; where that is None, a sentence.
    """

    url: str
    troubles: list[int | str | None] = field(default_factory=list)
    answers: Callable[[dict[str, Any]], Reply | None] = lambda _: None
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    reply_headers: dict[str, str] = field(default_factory=dict)

    @property
    def server(self) -> str:
        """Its address without a path."""
        return self.url.removesuffix("/v1")


def sentence(request: dict[str, Any]) -> str:
    """The usual answer."""
    question = request["messages"][0]["content"]
    return f"About {question.split(chr(10))[0]}: people who enjoy it are kind and calm."


def completion(content: Any, finish_reason: str = "stop", **message: Any) -> Reply:
    """A chat completion of 9 tokens."""
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": said, "finish_reason": finish_reason}
    return 200, {"choices": [choice], "usage": {"completion_tokens": 9}}


@contextmanager
def serving_endpoint() -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request["path"] = self.path
            state.requests.append(request)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            match state.troubles.pop(0) if state.troubles else None:
                case None:
                    self.reply(*(state.answers(request) or completion(sentence(request))))
                case "hang up":
                    self.connection.shutdown(socket.SHUT_RDWR)
                case "dawdle":
                    time.sleep(0.5)
                case status:
                    self.reply(int(status), {"error": {"message": "not\nnow"}})

        def reply(self, status: int, document: Any) -> None:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in state.reply_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # a full queue costs the next connection a second

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
