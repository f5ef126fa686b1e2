"""HTTP as uvicorn speaks it, but requests that are one too many are refused before they cost.

A refusal from within the application costs as much as a third of an answer, and an overloaded
service refuses most of what comes: it would spend itself on saying no. Here the request is read
to its end and answered with prepared bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from app.http.middleware import Middleware


class GuardedProtocol(HttpToolsProtocol):
    """One connection; `config.loaded_app` is a LongtailApp, whose gate decides."""

    _rejecting = False

    @property
    def _middleware(self) -> Middleware:
        return self.config.loaded_app.outermost  # type: ignore[no-any-return]

    def on_headers_complete(self) -> None:
        """Start the request, or remember that it is refused."""
        middleware = self._middleware
        # What is pipelined behind another request waits its turn; the gate looks at it then. Who
        # asks before sending a body is answered by the application, as only that can answer 100.
        is_plain = not self.expect_100_continue and (
            self.cycle is None or self.cycle.response_complete
        )
        if is_plain and middleware.rejects(self.url):
            self._rejecting = True
            return
        super().on_headers_complete()
        if is_plain:
            # Its task comes to run after all that arrived with it was read: it counts from now on.
            middleware.announce(self.scope)

    def on_body(self, body: bytes) -> None:
        """Take in a part of the body, or let it go by."""
        if not self._rejecting:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole; a refused one is answered now."""
        if not self._rejecting:
            super().on_message_complete()
            return
        self._rejecting = False
        keeps_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        headers = [*self.server_state.default_headers]
        if not keeps_alive:
            headers.append((b"connection", b"close"))
        method = self.parser.get_method()
        self.transport.write(self._middleware.rejection(method, self.url, self.headers, headers))
        if not keeps_alive:
            self.transport.close()
        self.on_response_complete()
