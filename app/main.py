"""The application: settings in, a FastAPI app out. Nothing happens at import."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.http.admin_access import AdminAccess
from app.http.admin_routes import admin_router
from app.http.caller_keys import CallerKeys
from app.http.console_page import console_router
from app.http.documentation import documentation_router
from app.http.hot_endpoints import hot_endpoints
from app.http.json_response import JsonResponse
from app.http.middleware import Endpoint, Middleware, unexpected
from app.http.openapi import TAGS, openapi_document
from app.http.people_routes import people_router
from app.http.problems import (
    STATUS_OF,
    Problem,
    field_path,
    from_error,
    from_validation,
    shorten,
)
from app.http.request_id import REQUEST_ID
from app.http.routes import public_router
from app.http.tracing import traced
from app.reranking.client import RerankClient
from app.reranking.job import Reranker
from app.service import Service
from app.settings import Settings
from app.telemetry.package_version import package_version
from model_store.errors import LongtailError

TITLE = "Longtail"


class LongtailApp(FastAPI):
    """FastAPI behind the middleware, with a complete OpenAPI document."""

    _encoded_document: bytes | None = None

    def __init__(self, service: Service, hot: dict[str, Endpoint], **options: Any) -> None:
        super().__init__(**options)
        self._encoding = asyncio.Lock()
        self.outermost = Middleware(
            super().__call__,
            {("POST", path): endpoint for path, endpoint in hot.items()},
            service.metrics,
            service.admission,
            service.settings.receive_timeout_ms / 1e3,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self.outermost(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return openapi_document(self)

    def setup(self) -> None:
        """Add the route of the OpenAPI document, the only one of the framework's own."""
        self.add_route("/openapi.json", self._answer_document, include_in_schema=False)

    async def _answer_document(self, _: Request) -> Response:
        # Once, and in a thread: it takes a quarter of a second, in which requests are answered.
        async with self._encoding:
            if self._encoded_document is None:
                self._encoded_document = await asyncio.to_thread(
                    lambda: orjson.dumps(self.openapi())
                )
        return JsonResponse(self._encoded_document)


def create_app(
    settings: Settings,
    *,
    prepare: Callable[[], object] | None = None,
    accepts: Callable[[], bool] | None = None,
    reranker: Reranker | None = None,
) -> LongtailApp:
    """An application for these settings; its resources are opened in its lifespan.

    Args:
        settings, prepare, accepts: of its Service.
        reranker: of its Service; unless given, the one that listens on the settings' socket.

    Raises:
        ConfigError: there is no store to use, or a folder can't be written.
    """
    if reranker is None and settings.rerank_socket is not None:
        reranker = RerankClient(settings.rerank_socket)
    service = Service(settings, prepare=prepare, accepts=accepts, reranker=reranker)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    hot, callers = hot_endpoints(service), None
    if service.quotas is not None:
        callers = CallerKeys(service.quotas, service.metrics.callers)
        hot = {path: callers.guard(endpoint) for path, endpoint in hot.items()}
    if service.traces is not None:
        hot = {path: traced(path, endpoint, service.traces) for path, endpoint in hot.items()}
    version = package_version()
    routers = (
        public_router(service, hot, callers),
        admin_router(),
        people_router(),
        console_router(),
        documentation_router(f"{TITLE} {version}"),
    )
    app = LongtailApp(
        service,
        hot,
        title=TITLE,
        description="What should this user see next?",
        openapi_tags=TAGS,
        version=version,
        lifespan=lifespan,
        # A router that is included has each route analysed again, and the first request wait.
        routes=[route for router in routers for route in router.routes],
    )
    _answer_errors_as_problems(app)
    app.state.service = service
    app.state.access = AdminAccess(
        settings.admin_token, service.store.tokens, service.metrics.admin
    )
    return app


def _answer_errors_as_problems(app: FastAPI) -> None:
    def respond(request: Request, problem: Problem) -> Response:
        return problem.response(request.scope.get(REQUEST_ID, ""))

    @app.exception_handler(Problem)
    async def on_problem(request: Request, problem: Problem) -> Response:
        return respond(request, problem)

    async def on_known_error(request: Request, error: LongtailError) -> Response:
        return respond(request, from_error(error))

    for kind in STATUS_OF:
        app.exception_handler(kind)(on_known_error)

    @app.exception_handler(ValidationError)
    async def on_body(request: Request, error: ValidationError) -> Response:
        return respond(request, from_validation(error))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"there is no {request.url.path[:200]}"
        elif error.status_code == 405:
            detail = f"{request.method} is not a method of {request.url.path[:200]}"
        return respond(request, Problem(error.status_code, detail, headers=error.headers))

    @app.exception_handler(RequestValidationError)
    async def on_parameters(request: Request, error: RequestValidationError) -> Response:
        errors = [
            {
                # The first part names the place (query, path); the rest is the field.
                "field": field_path(one["loc"][1:]),
                "value": shorten(one.get("input")),
                "message": one["msg"].removeprefix("Value error, "),
            }
            for one in error.errors()
        ]
        first = errors[0]
        detail = f"{first['field']}: {first['message']} (got {first['value']!r})"
        return respond(request, Problem(422, detail, errors=errors))

    @app.exception_handler(Exception)
    async def on_anything(request: Request, _error: Exception) -> Response:
        return respond(request, unexpected())
