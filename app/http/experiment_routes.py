"""Routes for operators: experiments, and clicks by version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from app.deployment.routing import SAMPLED, period_of
from app.experiments.effect import CONFIDENCE
from app.experiments.report import ClicksByVersion, ExperimentReport, clicks_of, report_on
from app.http.admin_access import By
from app.http.openapi import problems_of, request_body
from app.http.operator_errors import asked
from app.http.parameters import Seen, UnderName
from app.http.parsing import parse_body
from app.http.problems import Problem
from app.http.requests import ExperimentRequest
from app.http.responses import Experiments
from app.http.this_service import ThisService
from app.service import Service
from app.store.experiment_store import VersionCounts
from model_store.deployment import now
from model_store.deployments import DEFAULT
from model_store.experiment import Experiment
from model_store.experiment_counts import Scope

_Force = Annotated[
    bool, Query(description="Also versions whose items lack attributes of the active one's.")
]


def add_experiment_routes(router: APIRouter) -> None:
    """Add them to the admin router, whose prefix and checks they share."""

    async def start(
        service: Service,
        name: str,
        body: ExperimentRequest,
        by: str,
        force: bool,
        model: str,
        seen: int | None,
    ) -> Experiment:
        experiment = Experiment(name=name, salt=body.salt or name, since=now(), arms=body.arms)
        return await asked(
            service.operations.change(
                lambda rollout: rollout.start_experiment(experiment, force=force),
                by=by,
                model=model,
                seen=seen,
            )
        )

    @router.get("/experiments", summary="The experiments that run, and those that ended lately")
    async def list_experiments(service: ThisService) -> Experiments:
        deployments, _ = await asked(service.operations.deployments())
        return Experiments(experiments=list(deployments.kept_experiments))

    @router.post(
        "/experiments",
        summary="Let arms of users be answered differently",
        responses=problems_of(404, 409, 413, 415, 424),
        openapi_extra=request_body(ExperimentRequest),
    )
    async def start_experiment(
        request: Request,
        service: ThisService,
        by: By,
        force: _Force = False,
        model: UnderName = DEFAULT,
        seen: Seen = None,
    ) -> Experiment:
        body = await parse_body(request, ExperimentRequest.model_validate_json)
        if body.name is None:
            raise Problem(422, "name: Field required")
        return await start(service, body.name, body, by, force, model, seen)

    @router.post(
        "/experiments/{name}",
        summary="The same, with the name in the path",
        responses=problems_of(404, 409, 413, 415, 424),
        openapi_extra=request_body(ExperimentRequest),
    )
    async def start_named_experiment(
        request: Request,
        service: ThisService,
        name: str,
        by: By,
        force: _Force = False,
        model: UnderName = DEFAULT,
        seen: Seen = None,
    ) -> Experiment:
        body = await parse_body(request, ExperimentRequest.model_validate_json)
        if body.name not in (None, name):
            raise Problem(422, f"name: it is {name!r} in the path (got {body.name!r})")
        return await start(service, name, body, by, force, model, seen)

    @router.get(
        "/experiments/{name}",
        summary="Exposures and clicks by arm, and the effect with its interval",
        responses=problems_of(404),
    )
    async def get_experiment(service: ThisService, name: str) -> ExperimentReport:
        return await asked(_report(service, name))

    @router.delete(
        "/experiments/{name}",
        summary="End an experiment; its figures are kept for a while",
        responses=problems_of(404, 409),
    )
    async def stop_experiment(service: ThisService, name: str, by: By) -> ExperimentReport:
        await asked(_stop(service, name, by))
        return await asked(_report(service, name))

    async def _stop(service: Service, name: str, by: str) -> None:
        deployments, _ = await service.operations.deployments()
        model = deployments.model_of(name)
        await service.operations.change(
            lambda rollout: rollout.stop_experiment(name), by=by, model=model
        )

    async def _report(service: Service, name: str) -> ExperimentReport:
        deployments, _ = await service.operations.deployments()
        experiment = deployments.find_experiment(name)
        counted = await service.exposures.read(experiment)
        by_version = await service.exposures.read_versions(Scope(name), list(counted))
        return report_on(experiment, counted, by_version.moments)

    @router.get(
        "/clicks",
        summary="Clicks per exposure by version and arm, with intervals",
        responses=problems_of(404),
    )
    async def get_clicks(service: ThisService, model: UnderName = DEFAULT) -> ClicksByVersion:
        return await asked(_clicks(service, model))

    async def _clicks(service: Service, model: str) -> ClicksByVersion:
        deployments, _ = await service.operations.deployments()
        deployment = deployments.find(model, deactivated=True)
        period, experiment = period_of(model, deployment), deployment.experiment
        counts = VersionCounts(None, {})
        if period is not None:
            arms = [arm.name for arm in experiment.arms] if experiment else []
            counts = await service.exposures.read_versions(period, ["", *arms])
        since_s = counts.since_s
        is_compared = deployment.canary is not None or experiment is not None
        of_exposures = service.settings.exposure_share if service.exposure_log else 0.0
        return ClicksByVersion(
            model=model,
            since=None if since_s is None else datetime.fromtimestamp(since_s, UTC).isoformat(),
            share=of_exposures * (1.0 if is_compared else SAMPLED),
            confidence=CONFIDENCE,
            versions=clicks_of(deployment.active, counts.moments),
        )
