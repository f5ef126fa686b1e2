"""Sends a complete answer with one system call, where uvicorn takes two: for head and body."""

from __future__ import annotations

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


def send_at_once(cycle: RequestResponseCycle, response: Response) -> bool:
    """Send an answer and end its request, as its two ASGI messages would.

    Args:
        cycle: of the request, to which nothing was sent yet.
        response: has its body; its headers are valid and have the body's length.

    Returns:
        False, and nothing is sent, where it takes more than that: the answer is a problem, which
        may end the connection; the caller wants it to end, is gone, or reads too slowly.
    """
    if response.status_code != 200 or not cycle.keep_alive:
        return False
    if cycle.disconnected or cycle.flow.write_paused:
        return False
    headers = (*cycle.default_headers, *response.raw_headers)
    lines = [b"%s: %s\r\n" % header for header in headers]
    cycle.transport.write(b"".join((STATUS_LINE[200], *lines, b"\r\n", response.body)))
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True
