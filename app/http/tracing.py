"""Endpoints whose requests are traced, where the settings want that."""

from __future__ import annotations

import re
from time import time_ns
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from app.http.middleware import ANSWERED_BY, Endpoint, answer
from app.http.request_id import REQUEST_ID
from app.telemetry.metrics import NOBODY

if TYPE_CHECKING:
    from app.telemetry.traces import Traces

_STAGE = re.compile(r"(features|inference|rerank);dur=([\d.]+)")


def traced(route: str, endpoint: Endpoint, traces: Traces) -> Endpoint:
    """The endpoint of a route; a sampled request becomes a span, with one for each stage.

    The stages stand one after another, though the reranker is asked in the middle of `inference`.
    """
    from app.telemetry.traces import AnsweredRequest

    async def answer_traced(request: Request) -> Response:
        context = traces.sample(request.scope["headers"])
        if context is None:
            return await endpoint(request)
        started_ns = time_ns()
        response = await answer(endpoint, request)
        headers = response.headers
        attributes = {"longtail.request_id": request.scope[REQUEST_ID]}
        if "x-model-version" in headers:
            attributes["longtail.model_version"] = headers["x-model-version"]
        if served_by := request.scope.get(ANSWERED_BY, NOBODY)[0]:
            attributes["longtail.served_by"] = served_by
        stages = _STAGE.findall(headers.get("server-timing", ""))
        stages_ms = {name: float(took_ms) for name, took_ms in stages if float(took_ms)}
        traces.record(
            context,
            AnsweredRequest(
                route, response.status_code, started_ns, time_ns(), stages_ms, attributes
            ),
        )
        return response

    return answer_traced
