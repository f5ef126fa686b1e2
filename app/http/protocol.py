"""uvicorn's HTTP protocol with limits that act while the bytes arrive.

The application sees complete requests only: a request counts as one under way when its last byte is
there, so that slow or silent connections delay no other request. Until then its size and time are
limited here.

Requests above the limit on load are answered here too, with prepared bytes. Within the application
a rejection would cost a third of an answer, and an overloaded service rejects most requests.
"""

from __future__ import annotations

import logging
from asyncio import TimerHandle
from functools import partial
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.http.body import too_long
from app.http.complete_answer import send_at_once
from app.http.early_answers import ending
from app.http.problems import Problem
from app.http.requests import MAX_BODY_BYTES

if TYPE_CHECKING:
    from app.http.middleware import Middleware

log = logging.getLogger(__name__)

MAX_URL_BYTES = 8 * 1024
MAX_HEADER_BYTES = 32 * 1024
MAX_HEADERS = 128
# The parser gets pieces of this size, which hold too few headers to take long.
MAX_FED_BYTES = 16 * 1024
# A piece of this size can't hold a head that is too long.
MAX_CHECKED_BYTES = 512
# Whatever a head within the limits takes with its separators, and two pieces more.
MAX_HEAD_BYTES = MAX_URL_BYTES + MAX_HEADER_BYTES + 4 * MAX_HEADERS + 2 * MAX_FED_BYTES
# Limit on pipelined requests that arrive in one piece, without waiting for answers.
MAX_PIPELINED = 64
# A client that is still sending would lose the answer if the connection were closed at once.
LINGER_S = 5.0
# While the service ends, a connection that has brought no request yet has this long to bring one.
FIRST_REQUEST_GRACE_S = 0.2
_UPGRADE_HEADERS = (b"upgrade", b"http2-settings")


class LimitedProtocol(HttpToolsProtocol):
    """One connection; `config.loaded_app` is a LongtailApp, whose middleware decides."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._middleware: Middleware = self.config.loaded_app.outermost
        self._early = self._middleware.early_answers
        self._body: bytes | bytearray = b""
        self._n_held = 0  # bytes of the body that the middleware has counted
        self._is_partial = False  # a request has begun and isn't complete
        self._in_head = False
        self._ended = False  # further bytes are not read
        self._n_fed = 0  # bytes that the parser got last
        self._n_head_bytes = 0  # bytes of the pieces so far that ended within the head
        self._n_headers = 0
        self._n_begun = 0  # requests that began in this piece
        self._deadline: TimerHandle | None = None
        self._gets_grace = False  # the service ends, and waits for a first request

    # --- calls of the transport ----------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Begin; a silent connection is closed after the same time as between requests."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        """Process received bytes: requests, or parts of one."""
        if self._ended:
            return
        self._unset_keepalive_if_required()
        self._n_begun = 0
        try:
            if len(data) <= MAX_FED_BYTES:
                self._feed(data)
            else:
                for start in range(0, len(data), MAX_FED_BYTES):
                    self._feed(data[start : start + MAX_FED_BYTES])
            if self._is_partial:
                self._limit_time()
        except Problem as problem:
            self._end(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget an incomplete request."""
        self._forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The service ends: answer incomplete requests with that."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self._is_partial and not self._ended:
            self._end(ending())
        elif self.cycle is None and not self._ended and not self._gets_grace:
            # Accepted a moment ago, perhaps, and its first request is on the way.
            self._gets_grace = True
            self.loop.call_later(FIRST_REQUEST_GRACE_S, self.shutdown)
        else:
            super().shutdown()

    # --- calls of the parser --------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._n_begun += 1
        if self._n_begun > MAX_PIPELINED:
            raise Problem(429, f"more than {MAX_PIPELINED} requests came without waiting")
        super().on_message_begin()
        self._is_partial = self._in_head = True
        self._n_head_bytes = 0

    def on_headers_complete(self) -> None:
        """Check the head; the request starts when its body is complete too."""
        self._in_head = False
        self._n_headers = len(self.headers)
        if self._n_head_bytes or self._n_fed > MAX_CHECKED_BYTES:
            self._check_head()
        if self.expect_100_continue and not self.parser.should_upgrade():
            self._ask_for_body()

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        if len(self._body) + len(body) > MAX_BODY_BYTES:
            raise too_long()
        if not self._body:
            self._body = body
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += body

    def on_message_complete(self) -> None:
        """The request is complete: start it, or reject it."""
        if self.parser.should_upgrade():
            return  # read again without its wish to upgrade, which hides its body
        body = self._body
        self._forget()
        if len(self.headers) > self._n_headers:
            del self.headers[self._n_headers :]  # trailers after a body are no headers
        # A pipelined request is handled when the one before it is answered.
        is_first = self.cycle is None or self.cycle.response_complete
        if is_first and self._middleware.rejects(self.url):
            self._reject()
            return
        super().on_headers_complete()  # makes the cycle and its task, which runs after this
        cycle = self.cycle
        cycle.body = body  # type: ignore[assignment]
        cycle.more_body = False
        cycle.message_event.set()
        if is_first:
            # It counts from now on: its task runs after all bytes that arrived with it are read.
            self._middleware.announce(self.scope, partial(send_at_once, cycle))

    # --- implementation -----------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        """Give the parser a piece that is small enough to check the limits after it.

        Raises:
            Problem: it is no HTTP, or over a limit.
        """
        self._n_fed = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            raise _unreadable(error) from None
        if self._in_head:
            self._n_head_bytes += len(data)
            self._check_head()

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """Parse the head again without its wish to upgrade, and the rest behind it.

        Raises:
            Problem: as `_feed`; 405, the caller asks for a tunnel.
        """
        while True:
            rest = self._without_upgrade() + rest
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                raise _unreadable(error) from None
            else:
                return

    def _limit_time(self) -> None:
        """Limit the time of a request that has begun, and the bytes that all of them hold.

        Raises:
            Problem: 429, they hold too many.
        """
        if n_new := len(self._body) - self._n_held:
            self._n_held += n_new
            self._middleware.hold_body(n_new)
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._middleware.receive_timeout_s, self._expire)

    def _check_head(self) -> None:
        """Compare the head, as far as it is parsed, with its limits.

        Raises:
            Problem: 414 or 431.
        """
        if len(self.url) > MAX_URL_BYTES:
            raise Problem(414, f"the URL is longer than {MAX_URL_BYTES} bytes")
        if len(self.headers) > MAX_HEADERS:
            raise Problem(431, f"there are more than {MAX_HEADERS} headers")
        n_bytes = sum(len(name) + len(value) for name, value in self.headers)
        # The parser gives a header only when it is complete.
        is_unending = self._in_head and self._n_head_bytes > MAX_HEAD_BYTES
        if n_bytes > MAX_HEADER_BYTES or is_unending:
            raise Problem(431, f"the headers are longer than {MAX_HEADER_BYTES} bytes")

    def _ask_for_body(self) -> None:
        """Send 100 Continue to a caller that waits for it before its body."""
        self.expect_100_continue = False
        length = next((value for name, value in self.headers if name == b"content-length"), b"0")
        if int(length) > MAX_BODY_BYTES:
            raise too_long()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _expire(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # nothing is read while earlier requests are answered
            self._limit_time()
            return
        limit_s = self._middleware.receive_timeout_s
        self._end(Problem(408, f"the request was not complete after {limit_s:g} s"))

    def _forget(self) -> None:
        """Forget a request that is complete or given up."""
        self._is_partial = False
        self._body = b""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._n_held:
            self._middleware.hold_body(-self._n_held)
            self._n_held = 0

    def _without_upgrade(self) -> bytes:
        """The head of the request without its wish to upgrade, for a new parser."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            raise Problem(405, "CONNECT is not a method of this service")
        lines = [b"%s %s HTTP/%s" % (method, self.url, version.encode())]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(t for t in tokens if t.lower() not in _UPGRADE_HEADERS)  # noqa: PLW2901
            if name not in _UPGRADE_HEADERS:
                lines.append(b"%s: %s" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([*lines, b"", b""])

    def _reject(self) -> None:
        """Answer with 429."""
        keeps_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        headers = [*self.server_state.default_headers]
        if not keeps_alive:
            headers.append((b"connection", b"close"))
        method = self.parser.get_method()
        self.transport.write(self._early.reject(method, self.url, self.headers, headers))
        if not keeps_alive:
            self.transport.close()
        self.on_response_complete()

    def _end(self, problem: Problem) -> None:
        """Answer with the problem of a request that is not read to its end, then close."""
        self._ended = True
        # A request without complete headers has none.
        given = self.headers if self._is_partial else ()
        self._forget()
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # requests before it are answered first
            return
        headers = [*self.server_state.default_headers, (b"connection", b"close")]
        self.transport.write(self._early.answer(problem, given, headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.timeout_keep_alive_task = self.loop.call_later(
            LINGER_S, self.timeout_keep_alive_handler
        )


def _unreadable(error: httptools.HttpParserError) -> Problem:
    """Why the parser can't read the bytes; a problem that a callback raised, as it is."""
    cause = error.__context__
    if isinstance(cause, Problem):
        return cause
    if cause is not None and not isinstance(cause, httptools.HttpParserError):
        log.error("a request could not be read", exc_info=cause)
    return Problem(400, f"this is no HTTP request: {error}")
