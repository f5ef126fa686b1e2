"""The middleware of every request: its id, the limit on load, errors as problems, metrics.

Plain ASGI, and outermost. The few routes of nearly all traffic are called from here directly;
everything else goes through the framework's router. Both ways lead to the same functions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.early_answers import EarlyAnswers, ending, overload
from app.http.problems import STATUS_OF, Problem, from_error, from_validation
from app.http.request_id import REQUEST_ID, RequestIds
from app.http.security_headers import headers_for
from app.overload.admission import Admission
from app.telemetry import logs
from app.telemetry.metrics import NOBODY, Metrics

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

ANSWERED_BY = "longtail.answered_by"
SEND_AT_ONCE = "longtail.send_at_once"
"""Where the scope of a request that was announced holds how its answer may be sent."""
_KNOWN_ERRORS = tuple(STATUS_OF)
# Monitoring and repair of an overloaded service must stay possible.
_UNLIMITED = ("/health", "/metrics", "/admin")
# Of incomplete bodies: some hundred slow uploads of the largest size.
MAX_HELD_BYTES = 256 * 1024 * 1024
_UNLIMITED_URLS = tuple(path.encode() for path in _UNLIMITED)


class Middleware:
    """Outermost ASGI application.

    Args:
        app: the framework's stack of middleware and routes.
        shortcuts: endpoints by (method, path) that bypass it.
        metrics: where answers are counted.
        admission: limit on requests under way.
        receive_timeout_s: longest time in which a request must arrive.
    """

    def __init__(
        self,
        app: ASGIApp,
        shortcuts: Mapping[tuple[str, str], Endpoint],
        metrics: Metrics,
        admission: Admission,
        receive_timeout_s: float,
    ) -> None:
        self._app = app
        self._shortcuts = shortcuts
        self._metrics = metrics
        self._admission = admission
        self.receive_timeout_s = receive_timeout_s
        self._ids = RequestIds()
        self.early_answers = EarlyAnswers(self._ids, metrics, self._route)
        self._n_held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other scopes (lifespan) are passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        scope[REQUEST_ID] = self._ids.choose(scope["headers"])
        path: str = scope["path"]
        shortcut = self._shortcuts.get((scope["method"], path))
        # Taken out, as it refers to the scope: only the garbage collector would free the two.
        send_at_once = scope.pop(SEND_AT_ONCE, None)
        if send_at_once is None:
            if not path.startswith(_UNLIMITED) and self._admission.rejects():
                await self._reject(scope, receive, send)
                return
            self._admission.enter()
        try:
            if shortcut is not None:
                response = await answer(shortcut, Request(scope, receive))
                response.raw_headers.append((b"x-request-id", scope[REQUEST_ID].encode()))
                if send_at_once is None or not send_at_once(response):
                    await response(scope, receive, send)
                by, elapsed_s = scope.get(ANSWERED_BY, NOBODY), perf_counter() - started
                self._metrics.answered(path, response.status_code, by, elapsed_s)
            else:
                await self._pass_on(scope, receive, send, started)
        except ClientDisconnect:
            pass  # the caller is gone
        finally:
            self._admission.leave()

    async def _reject(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = overload().response(scope[REQUEST_ID])
        response.raw_headers.append((b"x-request-id", scope[REQUEST_ID].encode()))
        await response(scope, receive, send)
        self._metrics.rejected_by_overload(self._route(scope["method"], scope["path"]), 1)

    def rejects(self, url: bytes) -> bool:
        """Whether the request for this URL is one too many; to be called once for each."""
        return not url.startswith(_UNLIMITED_URLS) and self._admission.rejects()

    def announce(self, scope: HTTPScope, send_at_once: Callable[[Response], bool]) -> None:
        """Count a request that will be passed to the application.

        Args:
            scope: of the request.
            send_at_once: sends a complete answer, unless it returns False.
        """
        scope[SEND_AT_ONCE] = send_at_once  # type: ignore[literal-required]
        self._admission.enter()

    def hold_body(self, n_bytes: int) -> None:
        """Count bytes of bodies that are on their way; fewer where `n_bytes` is negative.

        Raises:
            Problem: 429, all connections together hold too many.
        """
        self._n_held_bytes += n_bytes
        if n_bytes > 0 and self._n_held_bytes > MAX_HELD_BYTES:
            raise overload()

    def _route(self, method: str, path: str) -> str:
        return path if (method, path) in self._shortcuts else "other"

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, started: float) -> None:
        status = 0
        if scope["method"] == "HEAD":
            # Answered as GET; the server leaves out the body, as its own scope says HEAD.
            scope = {**scope, "method": "GET"}

        async def with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", scope[REQUEST_ID].encode()),
                    *headers_for(scope["path"]),
                ]
            await send(message)

        try:
            await self._app(scope, receive, with_id)
        except asyncio.CancelledError:
            if not status:
                await ending().response(scope[REQUEST_ID])(scope, receive, with_id)
        except Exception:
            # The framework has already answered 500 where it still could.
            log.exception("a request failed", extra={logs.REQUEST_ID: scope[REQUEST_ID]})
        # The route's pattern, not the path: a label per item id would fill the memory.
        route = getattr(scope.get("route"), "path_format", "other")
        self._metrics.answered(route, status, NOBODY, perf_counter() - started)


async def answer(endpoint: Endpoint, request: Request) -> Response:
    """The endpoint's response, or the response of its problem."""
    request_id: str = request.scope[REQUEST_ID]
    try:
        return await endpoint(request)
    except Problem as problem:
        return problem.response(request_id)
    except ValidationError as error:
        return from_validation(error).response(request_id)
    except _KNOWN_ERRORS as error:
        return from_error(error).response(request_id)
    except ClientDisconnect:
        raise
    except asyncio.CancelledError:
        return ending().response(request_id)
    except Exception:
        log.exception("a request failed", extra={logs.REQUEST_ID: request_id})
        return unexpected().response(request_id)


def unexpected() -> Problem:
    """500: our fault; the log has the rest, under the request's id."""
    return Problem(500, "the service failed; its log has details under this request id")
