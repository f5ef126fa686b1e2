"""The public routes: recommend, batch, events, similar items, health, metrics."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Security
from fastapi.security import HTTPBearer
from starlette.responses import PlainTextResponse, Response

from app.http import responses
from app.http.caller_keys import CallerKeys
from app.http.json_response import JsonResponse
from app.http.middleware import Endpoint
from app.http.openapi import operation_id, problems_of, request_body
from app.http.parameters import reject_unknown_parameters
from app.http.parsing import parse_filters
from app.http.problems import Problem
from app.http.requests import BatchRequest, EventsRequest, RatingsRequest, RecommendRequest
from app.recommend.plan import check_fields
from app.recommend.rounding import six_digits
from app.recommend.similarity import find_similar
from app.recommend.weight import MAX_ITEMS_AT_ONCE
from app.service import Service
from model_store.errors import NotReady

# A product with more rows, and the choice of its best, take longer than two milliseconds.
MAX_ROWS_ON_LOOP = 20_000
# For the document and its Authorize button; `CallerKeys` does the checking.
_SCHEME = HTTPBearer(
    auto_error=False,
    scheme_name="callerKey",
    description="A key of `longtail tokens create --role call`.",
)


def public_router(
    service: Service, hot: dict[str, Endpoint], callers: CallerKeys | None
) -> APIRouter:
    """Routes for everything but /admin.

    Args:
        service: answers.
        hot: endpoints that the middleware calls; they are listed here for the documentation.
        callers: checks the keys of callers, which those in `hot` do themselves; None: no keys.
    """
    router = APIRouter(generate_unique_id_function=operation_id)
    declared: list[Any] = [Security(_SCHEME)] if callers else []
    checked = [*declared, Depends(callers.check)] if callers else []
    statuses = (401,) if callers else ()
    documented: list[tuple[str, str, str, type, type]] = [
        ("/recommend", "recommend", "What should this user see next?", RecommendRequest,
         responses.RecommendResponse),
        ("/ratings", "predict_ratings", "How would this user rate these items?", RatingsRequest,
         responses.RatingsResponse),
        ("/recommend/batch", "recommend_batch", "Several requests at once", BatchRequest,
         responses.BatchResponse),
        ("/events", "append_events", "Interactions as they happen", EventsRequest,
         responses.EventsResponse),
    ]  # fmt: skip
    for path, name, summary, request_model, response_model in documented:
        others = (409,) if path == "/ratings" else ()
        router.add_api_route(
            path,
            hot[path],
            methods=["POST"],
            name=name,
            tags=["recommend"],
            summary=summary,
            response_class=JsonResponse,
            dependencies=declared,
            responses={
                200: {"model": response_model},
                **problems_of(*statuses, *others, 413, 415, 422, 429, 503),
            },
            openapi_extra=request_body(request_model),
        )

    @router.get(
        "/items/{item_id:path}/similar",
        summary="Items near another",
        tags=["recommend"],
        dependencies=[*checked, Depends(reject_unknown_parameters)],
        response_class=JsonResponse,
        responses={
            200: {"model": responses.SimilarResponse},
            **problems_of(*statuses, 404, 422, 429, 503),
        },
    )
    async def similar_items(
        item_id: str,
        k: Annotated[int, Query(ge=1, le=1_000)] = 10,
        fields: Annotated[list[str] | None, Query()] = None,
        filters: Annotated[
            str | None,
            Query(
                max_length=16_384,
                description="JSON as in POST /recommend, percent-encoded: "
                '`{"genres": {"any": ["Comedy"]}}`.',
            ),
        ] = None,
    ) -> Response:
        model = service.answering.model()
        index = model.ids.index_of(item_id)
        if index is None:
            raise Problem(404, f"item_id {item_id[:200]!r} is unknown")
        names = [name for part in fields or () for name in part.split(",") if name]
        check_fields(names, model)
        heavy = len(model.table) > MAX_ROWS_ON_LOOP
        rules = None if filters is None else parse_filters(filters)
        [similar] = await service.runner.run(
            partial(find_similar, k=k, filters=rules), [index], model, heavy=heavy
        )
        ids, indices = model.ids.ids, similar.items.tolist()
        if len(indices) > MAX_ITEMS_AT_ONCE:
            await asyncio.sleep(0)  # others' turn: to write them takes longer than to find them
        scores = six_digits(similar.scores.tolist())
        items: list[dict[str, Any]] = [
            {"item_id": ids[near - 1], "rank": rank, "score": score}
            for rank, (near, score) in enumerate(zip(indices, scores, strict=True), start=1)
        ]
        if names:
            for item, values in zip(items, model.fields_of_each(indices, names), strict=True):
                item["fields"] = values
        document = {
            "item_id": item_id,
            "model_version": model.version,
            "degraded": similar.degraded,
            "items": items,
        }
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
        try:
            model = service.answering.model_when_ready()
        except NotReady as error:
            # Probes ask from the start; a caller's request that fails is logged.
            headers = {"Retry-After": "1"}
            raise Problem(503, str(error), headers=headers, is_expected=True) from error
        return JsonResponse(
            {
                "status": "ready",
                "version": model.version,
                "names": service.models.routings.versions,
                "execution_provider": model.network.execution_provider,
                "store": service.store.state.word,
                "store_reason": service.store.state.reason,
                "items": len(model.ids),
                "fresh_items": model.n_fresh,
                "rejected": service.models.versions.rejected,
                "reranker": service.reranker_loading.state_of(model),
                "reranker_reason": service.reranker_reason,
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
