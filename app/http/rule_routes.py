"""Routes for operators: rules."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request

from app.http.admin_access import By
from app.http.openapi import problems_of, request_body
from app.http.operator_errors import asked
from app.http.parsing import parse_body
from app.http.this_service import ThisService
from app.model.rule_book import RuleBook
from model_store.rollout import Ruled
from model_store.rules import Rules


def add_rule_routes(router: APIRouter) -> None:
    """Add them to the admin router, whose prefix and checks they share."""

    @router.get(
        "/rules",
        summary="The rules in force, earlier ones, and what they can't do",
        response_model_exclude_none=True,
    )
    async def get_rules(service: ThisService) -> Ruled:
        return await asked(service.operations.rules())

    @router.put(
        "/rules",
        summary="Replace all rules, at all workers",
        response_model_exclude_none=True,
        responses=problems_of(413, 415),
        openapi_extra=request_body(Rules),
    )
    async def put_rules(request: Request, service: ThisService, by: By) -> Ruled:
        body = await parse_body(request, Rules.model_validate_json)
        model = service.answering.model()
        book = await asyncio.to_thread(RuleBook, 0, body.rules, model)
        if book.faults:
            raise book.faults[0]
        return await asked(service.operations.set_rules(body.rules, by=by))

    @router.post(
        "/rules/rollback",
        summary="Go back to the rules that were in force before",
        response_model_exclude_none=True,
        responses=problems_of(409),
    )
    async def roll_back_rules(service: ThisService, by: By) -> Ruled:
        return await asked(service.operations.roll_back_rules(by=by))
