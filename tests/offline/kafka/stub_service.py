"""A server that answers `POST /events` as it is told."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

Answer = tuple[int, dict[str, str], str]
"""Status, headers and body."""


class Stub(BaseHTTPRequestHandler):
    """Answers as it is told, and then that it has accepted."""

    answers: ClassVar[list[Answer]] = []
    accepted: ClassVar[list[dict[str, Any]]] = []
    asked_s: ClassVar[list[float]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked_s.append(time.monotonic())
        if self.answers:
            status, headers, text = self.answers.pop(0)
        else:
            events = json.loads(body)["events"]
            type(self).accepted += events
            status, headers, text = 200, {}, json.dumps({"accepted": len(events)})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None: ...


def items() -> list[str]:
    return [one["item_id"] for one in Stub.accepted]
