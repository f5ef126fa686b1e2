"""Routes for operators that stand outside /admin: forgetting a person."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Security

from app.http.admin_access import ADMIN_SCHEME, check_operator
from app.http.openapi import operation_id, problems_of
from app.http.operator_errors import asked
from app.http.responses import PersonForgotten
from app.http.this_service import ThisService


@cache
def people_router() -> APIRouter:
    """Routes under /users, made once for all services of a process."""
    router = APIRouter(tags=["admin"], generate_unique_id_function=operation_id)

    @router.delete(
        "/users/{user_id:path}",
        summary="Forget a person",
        dependencies=[
            Security(ADMIN_SCHEME),
            Depends(check_operator),
        ],
        responses=problems_of(401, 403, 422, 429, 503),
    )
    async def forget_person(
        service: ThisService,
        user_id: Annotated[str, Path(min_length=1, max_length=512)],
    ) -> PersonForgotten:
        found = await asked(service.operations.forget(user_id))
        await asked(service.forgetting.look())
        return PersonForgotten(
            user_id=user_id,
            events=found.events,
            histories=found.histories,
            answers=found.answers,
            counts=found.counts,
            events_to_archive=found.events_to_archive,
            exposures=found.exposures,
        )

    return router
