"""Routes for operators: a shadow, and comparisons of two versions."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.comparison.comparer import DEFAULT_K, DEFAULT_USERS, MAX_USERS, Wanted
from app.comparison.page import render_page
from app.comparison.report import Comparison, Source
from app.http.admin_access import By
from app.http.openapi import problems_of, request_body
from app.http.operator_errors import asked
from app.http.parameters import Seen, UnderName
from app.http.parsing import parse_body
from app.http.requests import ShadowRequest
from app.http.responses import ShadowSet
from app.http.security_headers import page_headers
from app.http.this_service import ThisService
from model_store.answer_pairs import MAX_ITEMS
from model_store.deployments import DEFAULT

_Version = Annotated[str, Query(min_length=1, max_length=64)]


def add_comparison_routes(router: APIRouter) -> None:
    """Add them to the admin router, whose prefix and checks they share."""

    @router.post(
        "/models/{version}/shadow",
        summary="Let a version answer a share of the requests unseen, for comparison",
        responses=problems_of(404, 409, 413, 415, 424),
        openapi_extra=request_body(ShadowRequest),
    )
    async def set_shadow(
        request: Request,
        service: ThisService,
        version: str,
        by: By,
        model: UnderName = DEFAULT,
        seen: Seen = None,
    ) -> ShadowSet:
        body = await parse_body(request, ShadowRequest.model_validate_json)
        share = await asked(
            service.operations.change(
                lambda rollout: rollout.shadow(version, body.share),
                by=by,
                model=model,
                seen=seen,
            )
        )
        return ShadowSet(version=version, share=share)

    @router.get(
        "/compare",
        summary="How the answers of two versions differ, as JSON or as a page",
        response_model=Comparison,
        responses={
            200: {"content": {"text/html": {"schema": {"type": "string"}}}},
            **problems_of(404, 409, 424),
        },
    )
    async def compare_models(
        service: ThisService,
        a: _Version,
        b: _Version,
        users: Annotated[int, Query(ge=1, le=MAX_USERS)] = DEFAULT_USERS,
        k: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = DEFAULT_K,
        source: Source = "replayed",
        format: Literal["json", "html"] = "json",  # noqa: A002 - the parameter's name
    ) -> Comparison | Response:
        wanted = Wanted(a=a, b=b, source=source, users=users, k=k)
        comparison = await asked(service.comparer.compare(wanted))
        if format == "html":
            return HTMLResponse(render_page(comparison), headers=page_headers(inline_styles=True))
        return comparison
