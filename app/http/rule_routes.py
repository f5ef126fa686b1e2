"""Routes for operators: rules."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter
from fastapi import Body as FromBody

from app.http.admin_access import By
from app.http.openapi import problems_of
from app.http.operator_errors import asked
from app.model.rule_book import RuleBook
from app.service import Service
from model_store.rollout import Ruled
from model_store.rules import Rules

_EXAMPLES = {
    "several": {
        "summary": "One of each kind",
        "value": {
            "rules": [
                {"name": "sold out", "action": "hide", "item_ids": ["50", "181"]},
                {
                    "name": "winter",
                    "action": "boost",
                    "filters": {"genres": {"any": ["Drama"]}},
                    "factor": 2,
                    "from": "2026-12-01T00:00:00Z",
                    "until": "2027-03-01T00:00:00Z",
                },
                {"name": "horror", "action": "bury", "factor": 10,
                 "filters": {"genres": {"any": ["Horror"]}}, "context": {"page": "kids"}},
                {"name": "premiere", "action": "pin", "item_id": "302", "rank": 1},
                {"name": "two of a genre", "action": "cap", "attribute": "genres", "at_most": 2},
            ]
        },
    }
}  # fmt: skip
_Body = Annotated[Rules, FromBody(openapi_examples=_EXAMPLES)]


def add_rule_routes(router: APIRouter, service: Service) -> None:
    """Add them to the admin router, whose prefix and checks they share."""
    operations = service.operations

    @router.get(
        "/rules",
        summary="The rules in force, earlier ones, and what they can't do",
        response_model_exclude_none=True,
    )
    async def get_rules() -> Ruled:
        return await asked(operations.rules())

    @router.put(
        "/rules",
        summary="Replace all rules, at all workers",
        response_model_exclude_none=True,
    )
    async def put_rules(body: _Body, by: By) -> Ruled:
        model = service.model()
        book = await asyncio.to_thread(RuleBook, 0, body.rules, model)
        if book.faults:
            raise book.faults[0]
        return await asked(operations.set_rules(body.rules, by=by))

    @router.post(
        "/rules/rollback",
        summary="Go back to the rules that were in force before",
        response_model_exclude_none=True,
        responses=problems_of(409),
    )
    async def roll_back_rules(by: By) -> Ruled:
        return await asked(operations.roll_back_rules(by=by))
