"""Routes for operators, with the admin token as bearer."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import APIRouter, Depends, Security
from fastapi.security import HTTPBearer
from starlette.requests import Request

from app.http.openapi import problems_of
from app.http.parameters import reject_unknown_parameters
from app.http.problems import Problem
from app.http.responses import Activated, Models, ModelState
from app.service import Service
from model_store.errors import BundleError, RegistryError, StoreError

T = TypeVar("T")
# For the document and its Authorize button; `require_token` does the checking.
_SCHEME = HTTPBearer(
    auto_error=False, scheme_name="adminToken", description="The value of LONGTAIL_ADMIN_TOKEN."
)


def admin_router(service: Service) -> APIRouter:
    """Routes under /admin."""
    token = service.settings.admin_token

    async def require_token(request: Request) -> None:
        if token is None:
            raise Problem(403, "admin endpoints are closed (LONGTAIL_ADMIN_TOKEN is not set)")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Compared as bytes and in constant time, so that timing doesn't reveal the token.
        right = secrets.compare_digest(
            given.strip().encode("utf-8", "replace"), token.get_secret_value().encode()
        )
        if scheme.lower() != "bearer" or not right:
            reason = "wrong" if given else "missing"
            raise Problem(
                401,
                f"the admin token is {reason}; send `Authorization: Bearer TOKEN`",
                headers={"WWW-Authenticate": 'Bearer realm="longtail"'},
            )

    router = APIRouter(
        prefix="/admin",
        tags=["admin"],
        dependencies=[
            Security(_SCHEME),
            Depends(require_token),
            Depends(reject_unknown_parameters),
        ],
        responses=problems_of(401, 403, 422, 503),
    )

    @router.get("/models", summary="All versions")
    async def list_models() -> Models:
        active, records = await _asked(service.models.records())
        current = service.models.current
        return Models(
            active=active,
            models=[
                ModelState(
                    version=record.version,
                    state=_state(service, record.version, current.version if current else None),
                    active=record.version == active,
                    reranker=service.reranker_loading.state_of(current)
                    if current and record.version == current.version
                    else None,
                    metrics=dict(record.metrics),
                )
                for record in records
            ],
        )

    @router.post(
        "/models/{version}/activate",
        summary="Load a version, check it, and switch to it",
        responses=problems_of(404, 424),
    )
    async def activate_model(version: str) -> Activated:
        previous = await _asked(service.models.activate(version), unknown_status=404)
        return Activated(active=version, previous=previous)

    @router.post(
        "/models/rollback",
        summary="Go back to the version that was active before",
        responses=problems_of(409, 424),
    )
    async def roll_back_models() -> Activated:
        version, left = await _asked(service.models.rollback())
        return Activated(active=version, previous=left)

    return router


async def _asked(action: Awaitable[T], unknown_status: int = 409) -> T:
    """Await an operator's command; its errors become problems."""
    try:
        return await action
    except RegistryError as error:
        raise Problem(unknown_status, str(error)) from error
    except BundleError as error:
        raise Problem(424, f"{error}; the running version stays") from error
    except StoreError as error:
        raise Problem(503, str(error), headers={"Retry-After": "1"}) from error


def _state(service: Service, version: str, current: str | None) -> str:
    if version in service.models.rejected:
        return f"rejected: {service.models.rejected[version]}"
    return "serving" if version == current else "published"
