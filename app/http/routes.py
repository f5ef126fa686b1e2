"""The public endpoints: recommend, batch, events, similar items, health, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from app.http import responses
from app.http.body import read_body
from app.http.middleware import SERVED_BY, Endpoint
from app.http.openapi import problems_of, request_body
from app.http.parameters import reject_unknown_parameters
from app.http.problems import Problem
from app.http.request_id import REQUEST_ID
from app.http.requests import (
    MAX_AHEAD_S,
    MAX_BATCH,
    BatchRequest,
    Event,
    EventsRequest,
    RecommendRequest,
)
from app.model.model import Model
from app.recommend.pipeline import recommend
from app.recommend.plan import check_fields
from app.recommend.similarity import find_similar
from app.recommend.weight import MAX_ITEMS_ON_LOOP
from app.service import Service
from model_store import codecs

# A product with more rows than this takes so long that others would notice.
MAX_ROWS_ON_LOOP = 100_000
# Bytes of JSON that are parsed within three milliseconds.
MAX_PARSED_ON_LOOP = 256 * 1024


class JsonResponse(JSONResponse):
    """A JSON answer; leaner than the framework's, as one is made for every request.

    Args:
        document: to be encoded; bytes are JSON already.
    """

    def __init__(
        self,
        document: Any,
        headers: list[tuple[bytes, bytes]] | None = None,
        status_code: int = 200,
    ) -> None:
        self.status_code = status_code
        self.background = None
        self.body = document if isinstance(document, bytes) else orjson.dumps(document)
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.body)),
            *(headers or ()),
        ]


def hot_endpoints(service: Service) -> dict[str, Endpoint]:
    """The endpoints that make up nearly all traffic, by path; all of them are POST."""
    models, store, metrics = service.models, service.store.features, service.metrics
    runner = service.runner

    async def post_recommend(request: Request) -> Response:
        asked = RecommendRequest.model_validate_json(await read_body(request))
        model = models.current or service.model()
        [answer] = await recommend([asked], model, store, runner)
        scope = request.scope
        answer["request_id"] = scope[REQUEST_ID]
        scope[SERVED_BY] = answer["served_by"]
        _count(answer)
        metrics.stages(answer["timings_ms"])
        return JsonResponse(answer, _answer_headers(model.version, answer["timings_ms"]))

    async def post_batch(request: Request) -> Response:
        body = await read_body(request)
        if len(body) > MAX_PARSED_ON_LOOP:
            asked = await asyncio.to_thread(_parse_large_batch, body)
        else:
            asked = BatchRequest.model_validate_json(body).requests
        model = models.current or service.model()
        answers = await recommend(asked, model, store, runner, in_batch=True)
        for answer in answers:
            answer["request_id"] = request.scope[REQUEST_ID]
            _count(answer)
        timings = answers[0]["timings_ms"]
        metrics.stages(timings)
        heavy = sum(len(answer["items"]) for answer in answers) > MAX_ITEMS_ON_LOOP
        [encoded] = await runner.run(_encode_batch, answers, model, heavy=heavy)
        return JsonResponse(encoded, _answer_headers(model.version, timings))

    async def post_events(request: Request) -> Response:
        events = _parse_events(await read_body(request))
        now = time.time()
        arrived = [(event.user_id, _as_it_happened(event, now)) for event in events]
        try:
            n_journaled = await service.store.events.append(arrived)
        except OSError as error:
            raise Problem(
                503,
                f"the store takes no events and the journal can't be written ({error.strerror})",
                headers={"Retry-After": "1"},
            ) from error
        metrics.events.labels("store").inc(len(events) - n_journaled)
        metrics.events.labels("journal").inc(n_journaled)
        model = models.current
        unknown = 0 if model is None else sum(e.item_id not in model.ids for e in events)
        degraded = ["store"] if n_journaled else []
        for what in degraded:
            metrics.degraded.labels(what).inc()
        return JsonResponse(
            {"accepted": len(events), "unknown_items": unknown, "degraded": degraded}
        )

    def _count(answer: dict[str, Any]) -> None:
        for what in answer["degraded"]:
            metrics.degraded.labels(what.partition(":")[0]).inc()

    return {
        "/recommend": post_recommend,
        "/recommend/batch": post_batch,
        "/events": post_events,
    }


def _parse_events(body: bytes) -> list[Event]:
    try:
        return EventsRequest.model_validate_json(body).events
    except ValidationError as error:
        if any(one["type"] == "missing" and one["loc"] == ("events",) for one in error.errors()):
            return [Event.model_validate_json(body)]
        raise


def _as_it_happened(event: Event, now: float) -> codecs.Event:
    """The event with its time: the client's, unless its clock is wrong."""
    timestamp = event.timestamp
    if timestamp is None or timestamp > now + MAX_AHEAD_S:
        timestamp = now
    return codecs.Event(event.item_id, timestamp, event.rating)


def _parse_large_batch(body: bytes) -> Sequence[RecommendRequest]:
    """One request after another, as parsing all in one call would hold up other threads."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        document = orjson.loads(body)
        if document.keys() == {"requests"} and 1 <= len(document["requests"]) <= MAX_BATCH:
            return [RecommendRequest.model_validate(one) for one in document["requests"]]
    # It is wrong somewhere, and this finds out where.
    return BatchRequest.model_validate_json(body).requests


def _encode_batch(answers: Sequence[dict[str, Any]], _: Model) -> list[bytes]:
    """One after another, as encoding them all in one call would hold up other threads."""
    return [b'{"responses":[' + b",".join(map(orjson.dumps, answers)) + b"]}"]


def _answer_headers(version: str, timings: dict[str, float]) -> list[tuple[bytes, bytes]]:
    timing = ", ".join([f"{stage};dur={ms:.3f}" for stage, ms in timings.items()])
    return [(b"server-timing", timing.encode()), (b"x-model-version", version.encode())]


def public_router(service: Service, hot: dict[str, Endpoint]) -> APIRouter:
    """Routes for everything but /admin; those in `hot` are listed here for the documentation."""
    router = APIRouter()
    documented: list[tuple[str, str, str, type, type]] = [
        ("/recommend", "recommend", "What should this user see next?", RecommendRequest,
         responses.RecommendResponse),
        ("/recommend/batch", "recommend_batch", "Several requests at once", BatchRequest,
         responses.BatchResponse),
        ("/events", "append_events", "Interactions as they happen", EventsRequest,
         responses.EventsResponse),
    ]  # fmt: skip
    for path, name, summary, request_model, response_model in documented:
        router.add_api_route(
            path,
            hot[path],
            methods=["POST"],
            name=name,
            tags=["recommend"],
            summary=summary,
            response_class=JsonResponse,
            responses={200: {"model": response_model}, **problems_of(413, 415, 422, 429, 503)},
            openapi_extra=request_body(request_model),
        )

    @router.get(
        "/items/{item_id:path}/similar",
        summary="Items near another",
        tags=["recommend"],
        dependencies=[Depends(reject_unknown_parameters)],
        response_class=JsonResponse,
        responses={200: {"model": responses.SimilarResponse}, **problems_of(404, 422, 429, 503)},
    )
    async def similar_items(
        item_id: str,
        k: Annotated[int, Query(ge=1, le=1_000)] = 10,
        fields: Annotated[list[str] | None, Query()] = None,
    ) -> Response:
        model = service.model()
        index = model.ids.index_of(item_id)
        if index is None:
            raise Problem(404, f"item_id {item_id[:200]!r} is unknown")
        names = [name for part in fields or () for name in part.split(",") if name]
        check_fields(names, model)
        heavy = len(model.table) > MAX_ROWS_ON_LOOP
        [(best, scores)] = await service.runner.run(
            partial(find_similar, k=k), [index], model, heavy=heavy
        )
        items = [
            {"item_id": model.ids.id_of(near), "rank": rank, "score": score}
            | ({"fields": model.attributes.row(near, names)} if names else {})
            for rank, (near, score) in enumerate(
                zip(best.tolist(), scores.tolist(), strict=True), start=1
            )
        ]
        document = {"item_id": item_id, "model_version": model.version, "items": items}
        return JsonResponse(document, [(b"x-model-version", model.version.encode())])

    @router.get("/health/live", summary="The process answers", tags=["operate"])
    async def health_live() -> responses.Live:
        return responses.Live(status="live")

    @router.get(
        "/health/ready",
        summary="A model answers",
        tags=["operate"],
        response_class=JsonResponse,
        responses={200: {"model": responses.Ready}, **problems_of(503)},
    )
    async def health_ready() -> Response:
        model = service.model()
        return JsonResponse(
            {
                "status": "ready",
                "version": model.version,
                "execution_provider": model.sequence.execution_provider,
                "store": service.store.state.word,
                "store_reason": service.store.state.reason,
                "items": len(model.ids),
                "fresh_items": model.n_fresh,
                "rejected": service.models.rejected,
            }
        )

    @router.get(
        "/metrics",
        name="metrics",
        summary="Prometheus metrics",
        tags=["operate"],
        response_class=PlainTextResponse,
    )
    async def get_metrics() -> Response:
        document = await asyncio.to_thread(service.metrics.document)
        return Response(document, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
