"""What every request passes: its id, the limit on load, errors as problems, metrics.

Plain ASGI, and outermost. The few routes that make up nearly all traffic are called from here
directly; everything else goes through the framework's router. Both ways lead to the same
functions, so this is a shortcut and not another door.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problems import STATUS_OF, Problem, from_error, from_validation
from app.http.requests import MAX_BODY_BYTES
from app.overload.admission import Admission
from app.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

REQUEST_ID = "longtail.request_id"
SERVED_BY = "longtail.served_by"
ANNOUNCED = "longtail.announced"
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_KNOWN_ERRORS = tuple(STATUS_OF)
# Whoever watches or repairs an overloaded service must get through.
_UNLIMITED = ("/health", "/metrics", "/admin")
_UNLIMITED_URLS = tuple(path.encode() for path in _UNLIMITED)


class Middleware:
    """Outermost ASGI application.

    Args:
        app: the framework's stack of middleware and routes.
        shortcuts: endpoints by (method, path) that bypass it.
        metrics: where answers are counted.
        admission: how many may be under way.
    """

    def __init__(
        self,
        app: ASGIApp,
        shortcuts: Mapping[tuple[str, str], Endpoint],
        metrics: Metrics,
        admission: Admission,
    ) -> None:
        self._app = app
        self._shortcuts = shortcuts
        self._metrics = metrics
        self._admission = admission
        self._id_prefix = secrets.token_hex(6)
        self._ids = count(1)
        self._rejected = Counter[tuple[bytes, bytes]]()  # by method and URL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other scopes (lifespan) are passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        scope[REQUEST_ID] = self._choose_request_id(scope["headers"])
        path: str = scope["path"]
        shortcut = self._shortcuts.get((scope["method"], path))
        if ANNOUNCED not in scope:
            if not path.startswith(_UNLIMITED) and self._admission.rejects():
                await self._reject(scope, receive, send)
                return
            self._admission.enter()
        try:
            if shortcut is not None:
                response = await answer(shortcut, Request(scope, receive))
                await self._send(response, scope, receive, send, started)
            else:
                await self._pass_on(scope, receive, send, started)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        finally:
            self._admission.leave()

    async def _reject(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = _overload().response(scope[REQUEST_ID])
        response.raw_headers.append((b"x-request-id", scope[REQUEST_ID].encode()))
        await response(scope, receive, send)
        self._metrics.rejected_by_overload(self._route(scope["method"], scope["path"]), 1)

    def rejects(self, url: bytes) -> bool:
        """Whether the request that came for this URL is one too many; to be asked once for each."""
        return not url.startswith(_UNLIMITED_URLS) and self._admission.rejects()

    def announce(self, scope: HTTPScope) -> None:
        """Count a request that is sure to come."""
        scope[ANNOUNCED] = True  # type: ignore[literal-required]
        self._admission.enter()

    def rejection(
        self,
        method: bytes,
        url: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        more: Iterable[tuple[bytes, bytes]],
    ) -> bytes:
        """The whole answer to a refused request, for a server that asked `refuses`.

        Args:
            method, url: the request's.
            headers: the request's, names in lower case.
            more: to be sent beside the answer's own.
        """
        request_id = self._choose_request_id(headers).encode()
        if not self._rejected:
            asyncio.get_running_loop().call_soon(self._count_rejections)
        self._rejected[method, url] += 1
        body = request_id.join(_REJECTION_BODY)
        lines = [
            _REJECTION_HEAD,
            *(b"%s: %s" % pair for pair in more),
            b"x-request-id: %s\r\ncontent-length: %d\r\n\r\n" % (request_id, len(body)),
        ]
        return b"\r\n".join(lines) + body

    def _count_rejections(self) -> None:
        """Count those of one turn of the loop together: one by one is a fifth of what they cost."""
        for (method, url), n in self._rejected.items():
            path = url.partition(b"?")[0].decode("latin-1")
            self._metrics.rejected_by_overload(self._route(method.decode("latin-1"), path), n)
        self._rejected.clear()

    def _route(self, method: str, path: str) -> str:
        return path if (method, path) in self._shortcuts else "other"

    def _choose_request_id(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        for name, value in headers:
            if name == b"x-request-id" and _SANE_REQUEST_ID.fullmatch(value):
                return value.decode("ascii")
        return f"{self._id_prefix}-{next(self._ids):x}"

    async def _send(
        self, response: Response, scope: Scope, receive: Receive, send: Send, started: float
    ) -> None:
        response.raw_headers.append((b"x-request-id", scope[REQUEST_ID].encode()))
        await response(scope, receive, send)
        self._metrics.answered(
            self._route(scope["method"], scope["path"]),
            response.status_code,
            scope.get(SERVED_BY, ""),
            perf_counter() - started,
        )

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, started: float) -> None:
        status = 0

        async def with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", scope[REQUEST_ID].encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, with_id)
        except Exception:
            # The framework has answered 500 already where it still could.
            log.exception("request %s failed", scope[REQUEST_ID])
        # The route's pattern, not the path: a label per item id would fill the memory.
        route = getattr(scope.get("route"), "path_format", "other")
        self._metrics.answered(route, status, "", perf_counter() - started)


async def answer(endpoint: Endpoint, request: Request) -> Response:
    """The endpoint's response, or the problem that kept it from making one."""
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
    except Exception:
        log.exception("request %s failed", request_id)
        return unexpected().response(request_id)


def unexpected() -> Problem:
    """500: our fault; the log has the rest, under the request's id."""
    return Problem(500, "something went wrong here; the log knows more under this request id")


def _overload() -> Problem:
    detail = "as many requests as can be answered in time wait already"
    return Problem(429, detail, headers={"Retry-After": "1"})


def _prepare_rejection() -> tuple[bytes, list[bytes]]:
    """Status and headers of a refusal, and its body in two parts with the request's id between."""
    place = "request-id"
    response = _overload().response(place)
    headers = [
        b"%s: %s" % (name, value)
        for name, value in response.raw_headers
        if name != b"content-length"
    ]
    head = b"\r\n".join([b"HTTP/1.1 429 Too Many Requests", *headers])
    return head, bytes(response.body).split(place.encode())


# Most of what an overloaded service says is this.
_REJECTION_HEAD, _REJECTION_BODY = _prepare_rejection()


async def read_body(request: Request) -> bytes:
    """The request's body.

    Raises:
        Problem: 413, it is longer than is taken.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise Problem(
                413,
                f"the body is longer than {MAX_BODY_BYTES} bytes",
                headers={"Connection": "close"},
            )
        if not message.get("more_body", False):
            return chunk if not chunks else b"".join((*chunks, chunk))
        chunks.append(chunk)
