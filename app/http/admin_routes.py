"""Routes for operators, with an admin token as bearer."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Security
from starlette.requests import Request

from app.http.admin_access import ADMIN_SCHEME, By, Operator, check_operator
from app.http.comparison_routes import add_comparison_routes
from app.http.console_routes import add_console_routes
from app.http.experiment_routes import add_experiment_routes
from app.http.item_routes import add_item_routes
from app.http.openapi import operation_id, problems_of, request_body
from app.http.operator_errors import asked
from app.http.parameters import Seen, UnderName
from app.http.parsing import parse_body
from app.http.requests import CanaryRequest
from app.http.responses import (
    ActiveUnderName,
    CanarySet,
    CanaryState,
    Deactivated,
    DeploymentState,
    Models,
    ModelState,
)
from app.http.rule_routes import add_rule_routes
from app.http.this_service import ThisService
from app.service import Service
from model_store.deployments import DEFAULT
from model_store.rollout import Rolled

_FORCE = Annotated[
    bool, Query(description="Also a version whose items lack attributes of the active one's.")
]


@cache
def admin_router() -> APIRouter:
    """Routes under /admin, made once for all services of a process."""
    router = APIRouter(
        prefix="/admin",
        tags=["admin"],
        dependencies=[
            Security(ADMIN_SCHEME),
            Depends(check_operator),
        ],
        responses=problems_of(401, 403, 422, 429, 503),
        generate_unique_id_function=operation_id,
    )

    @router.get("/whoami", summary="The role of the token that asks")
    async def who_asks(request: Request) -> Operator:
        operator: Operator = request.state.operator
        return operator

    @router.get("/models", summary="All versions")
    async def list_models(service: ThisService) -> Models:
        deployments, records = await asked(service.operations.records())
        current = service.models.current
        return Models(
            active=deployments.default.active,
            models=[
                ModelState(
                    version=record.version,
                    state=_state(service, record.version),
                    active=record.version == deployments.default.active,
                    names=deployments.names_of(record.version),
                    reranker=service.reranker_loading.state_of(current)
                    if current and record.version == current.version
                    else None,
                    metrics=dict(record.metrics),
                    memory_bytes=record.memory_bytes,
                )
                for record in records
            ],
        )

    @router.get(
        "/deployment",
        summary="Who answers the requests of a name, and all workers",
        responses=problems_of(404),
    )
    async def get_deployment(service: ThisService, model: UnderName = DEFAULT) -> DeploymentState:
        return await asked(_describe(service, model))

    async def _describe(service: Service, model: str) -> DeploymentState:
        deployments, workers = await service.operations.deployments()
        deployment = deployments.find(model, deactivated=True)
        canary, verdict = deployment.canary, None
        if canary is not None:
            verdict = (await service.canary_watch.verdict(canary.epoch)).to_document()
        return DeploymentState(
            model=model,
            names=[
                ActiveUnderName(model=one, active=record.active, generation=record.generation)
                for one, record in deployments
                if one in deployments.names
            ],
            generation=deployment.generation,
            active=deployment.active,
            previous=list(deployment.previous),
            canary=CanaryState(**canary.model_dump(), verdict=verdict) if canary else None,
            shadow=deployment.shadow,
            experiments=list(deployment.kept_experiments),
            workers=[one.seen_under(model) for one in workers],
            audit=list(deployment.audit),
        )

    @router.post(
        "/models/{version}/activate",
        summary="Load a version in every worker, check it, and switch all of them to it",
        responses=problems_of(404, 409, 424),
    )
    async def activate_model(
        service: ThisService,
        version: str,
        by: By,
        force: _FORCE = False,
        model: UnderName = DEFAULT,
        seen: Seen = None,
    ) -> Rolled:
        return await asked(
            service.operations.change(
                lambda rollout: rollout.activate(version, force=force),
                by=by,
                model=model,
                seen=seen,
            )
        )

    @router.post(
        "/models/{version}/canary",
        summary="Let a version answer a share of the users",
        responses=problems_of(404, 409, 413, 415, 424),
        openapi_extra=request_body(CanaryRequest),
    )
    async def set_canary(
        request: Request,
        service: ThisService,
        version: str,
        by: By,
        force: _FORCE = False,
        model: UnderName = DEFAULT,
        seen: Seen = None,
    ) -> CanarySet:
        body = await parse_body(request, CanaryRequest.model_validate_json)
        percent = await asked(
            service.operations.change(
                lambda rollout: rollout.canary(version, body.percent, force=force),
                by=by,
                model=model,
                seen=seen,
            )
        )
        return CanarySet(version=version, percent=percent)

    @router.post(
        "/models/{version}/promote",
        summary="Make the canary the active version",
        responses=problems_of(404, 409, 424),
    )
    async def promote_model(
        service: ThisService, version: str, by: By, model: UnderName = DEFAULT, seen: Seen = None
    ) -> Rolled:
        return await asked(
            service.operations.change(
                lambda rollout: rollout.promote(version), by=by, model=model, seen=seen
            )
        )

    @router.post(
        "/models/rollback",
        summary="Go back to the version that was active before",
        responses=problems_of(409, 424),
    )
    async def roll_back_models(
        service: ThisService, by: By, model: UnderName = DEFAULT, seen: Seen = None
    ) -> Rolled:
        return await asked(
            service.operations.change(
                lambda rollout: rollout.rollback(), by=by, model=model, seen=seen
            )
        )

    @router.post(
        "/models/deactivate",
        summary="Answer requests of a name no more; a rollback brings it back",
        responses=problems_of(404, 409),
    )
    async def deactivate_name(
        service: ThisService, by: By, model: UnderName, seen: Seen = None
    ) -> Deactivated:
        left = await asked(
            service.operations.change(
                lambda rollout: rollout.deactivate(), by=by, model=model, seen=seen
            )
        )
        return Deactivated(model=model, previous=left)

    add_comparison_routes(router)
    add_console_routes(router)
    add_experiment_routes(router)
    add_item_routes(router)
    add_rule_routes(router)
    return router


def _state(service: Service, version: str) -> str:
    """What this worker does with a version, under whichever names."""
    models = service.models
    if version in models.versions.rejected:
        return f"rejected: {models.versions.rejected[version]}"
    found = [
        role if name == DEFAULT else f"{role} as {name}"
        for name, routing in models.routings
        if (role := routing.role_of(version))
    ]
    return ", ".join(found) or "published"
