"""The endpoints of nearly all traffic: recommend, batch, events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.http.json_response import JsonResponse
from app.http.middleware import SERVED_BY, Endpoint
from app.http.parsing import parse_batch, parse_body, parse_events, parse_recommend
from app.http.problems import Problem
from app.http.request_id import REQUEST_ID
from app.http.requests import MAX_AHEAD_S, Event
from app.model.model import Model
from app.recommend.pipeline import recommend
from app.recommend.weight import MAX_ITEMS_ON_LOOP
from app.service import Service
from model_store import codecs

_SERVER_TIMING = ", ".join(
    f"{stage};dur=%({stage}).3f" for stage in ("features", "inference", "rerank", "total")
)


def hot_endpoints(service: Service) -> dict[str, Endpoint]:
    """The endpoints of nearly all traffic, by path; all of them are POST."""
    models, store, metrics = service.models, service.store.features, service.metrics
    runner, reranker = service.runner, service.reranker

    async def post_recommend(request: Request) -> Response:
        asked = await parse_body(request, parse_recommend)
        model = models.current or service.model()
        [answer] = await recommend([asked], model, store, runner, reranker)
        scope = request.scope
        answer["request_id"] = scope[REQUEST_ID]
        scope[SERVED_BY] = answer["served_by"]
        _count(answer)
        metrics.stages(answer["timings_ms"])
        return JsonResponse(answer, _answer_headers(model.version, answer["timings_ms"]))

    async def post_batch(request: Request) -> Response:
        asked = await parse_body(request, parse_batch)
        model = models.current or service.model()
        answers = await recommend(asked, model, store, runner, reranker, in_batch=True)
        for answer in answers:
            answer["request_id"] = request.scope[REQUEST_ID]
            _count(answer)
        timings = answers[0]["timings_ms"]
        metrics.stages(timings)
        heavy = sum(len(answer["items"]) for answer in answers) > MAX_ITEMS_ON_LOOP
        [encoded] = await runner.run(_encode_batch, answers, model, heavy=heavy)
        return JsonResponse(encoded, _answer_headers(model.version, timings))

    async def post_events(request: Request) -> Response:
        events = await parse_body(request, parse_events)
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


def _as_it_happened(event: Event, now: float) -> codecs.Event:
    """The event with its time: the client's, unless its clock is wrong."""
    timestamp = event.timestamp
    if timestamp is None or timestamp > now + MAX_AHEAD_S:
        timestamp = now
    return codecs.Event(event.item_id, timestamp, event.rating)


def _encode_batch(answers: Sequence[dict[str, Any]], _: Model) -> list[bytes]:
    """Encode answers one by one: a single call would block other threads.

    The answers are emptied: to free a quarter of a million items takes as long as to encode them.
    """
    encoded = []
    for answer in answers:
        encoded.append(orjson.dumps(answer))
        answer.clear()
    return [b'{"responses":[' + b",".join(encoded) + b"]}"]


def _answer_headers(version: str, timings: dict[str, float]) -> list[tuple[bytes, bytes]]:
    timing = (_SERVER_TIMING % timings).encode()
    return [(b"server-timing", timing), (b"x-model-version", version.encode())]
