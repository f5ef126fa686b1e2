"""Routes for operators, with an admin token as bearer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Security
from fastapi import Body as FromBody
from starlette.requests import Request

from app.http.admin_access import ADMIN_SCHEME, AdminAccess, By, Operator
from app.http.comparison_routes import add_comparison_routes
from app.http.console_routes import add_console_routes
from app.http.experiment_routes import add_experiment_routes
from app.http.item_routes import add_item_routes
from app.http.openapi import problems_of
from app.http.operator_errors import asked
from app.http.parameters import reject_unknown_parameters
from app.http.requests import CanaryRequest
from app.http.responses import CanarySet, CanaryState, DeploymentState, Models, ModelState
from app.http.rule_routes import add_rule_routes
from app.service import Service
from model_store.rollout import Rolled

_FORCE = Annotated[
    bool, Query(description="Also a version whose items lack attributes of the active one's.")
]
_CANARY = Annotated[
    CanaryRequest,
    FromBody(openapi_examples={"five": {"summary": "5 % of the users", "value": {"percent": 5}}}),
]


def admin_router(service: Service, access: AdminAccess) -> APIRouter:
    """Routes under /admin.

    Args:
        service: that operators ask.
        access: checks their tokens.
    """
    router = APIRouter(
        prefix="/admin",
        tags=["admin"],
        dependencies=[
            Security(ADMIN_SCHEME),
            Depends(access.check),
            Depends(reject_unknown_parameters),
        ],
        responses=problems_of(401, 403, 422, 429, 503),
    )

    operations = service.operations

    @router.get("/whoami", summary="The role of the token that asks")
    async def who_asks(request: Request) -> Operator:
        operator: Operator = request.state.operator
        return operator

    @router.get("/models", summary="All versions")
    async def list_models() -> Models:
        deployment, records = await asked(operations.records())
        current = service.models.current
        return Models(
            active=deployment.active,
            models=[
                ModelState(
                    version=record.version,
                    state=_state(service, record.version),
                    active=record.version == deployment.active,
                    reranker=service.reranker_loading.state_of(current)
                    if current and record.version == current.version
                    else None,
                    metrics=dict(record.metrics),
                    memory_bytes=record.memory_bytes,
                )
                for record in records
            ],
        )

    @router.get("/deployment", summary="Who answers whom, and all workers")
    async def get_deployment() -> DeploymentState:
        deployment, workers = await asked(operations.deployment())
        canary, verdict = deployment.canary, None
        if canary is not None:
            verdict = (await asked(service.canary_watch.verdict(canary.epoch))).to_document()
        return DeploymentState(
            generation=deployment.generation,
            active=deployment.active,
            previous=list(deployment.previous),
            canary=CanaryState(**canary.model_dump(), verdict=verdict) if canary else None,
            shadow=deployment.shadow,
            experiments=list(deployment.kept_experiments),
            workers=workers,
            audit=list(deployment.audit),
        )

    @router.post(
        "/models/{version}/activate",
        summary="Load a version in every worker, check it, and switch all of them to it",
        responses=problems_of(404, 409, 424),
    )
    async def activate_model(version: str, by: By, force: _FORCE = False) -> Rolled:
        return await asked(operations.activate(version, force=force, by=by))

    @router.post(
        "/models/{version}/canary",
        summary="Let a version answer a share of the users",
        responses=problems_of(404, 409, 424),
    )
    async def set_canary(version: str, body: _CANARY, by: By, force: _FORCE = False) -> CanarySet:
        percent = await asked(operations.canary(version, body.percent, force=force, by=by))
        return CanarySet(version=version, percent=percent)

    @router.post(
        "/models/{version}/promote",
        summary="Make the canary the active version",
        responses=problems_of(404, 409, 424),
    )
    async def promote_model(version: str, by: By) -> Rolled:
        return await asked(operations.promote(version, by=by))

    @router.post(
        "/models/rollback",
        summary="Go back to the version that was active before",
        responses=problems_of(409, 424),
    )
    async def roll_back_models(by: By) -> Rolled:
        return await asked(operations.rollback(by=by))

    add_comparison_routes(router, service)
    add_console_routes(router, service)
    add_experiment_routes(router, service)
    add_item_routes(router, service)
    add_rule_routes(router, service)
    return router


def _state(service: Service, version: str) -> str:
    models = service.models
    if version in models.rejected:
        return f"rejected: {models.rejected[version]}"
    if models.canary is not None and version == models.canary.version:
        return "canary"
    routing = models.routing
    if routing and routing.shadow and version == routing.shadow.model.version:
        return "shadow"
    if models.current and version == models.current.version:
        return "serving"
    experiment = routing.experiment if routing else None
    if experiment and version in {model.version for model in experiment.models}:
        return f"in experiment {experiment.name}"
    return "published"
