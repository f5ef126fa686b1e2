"""Routes for operators: experiments."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Body as FromBody

from app.experiments.report import ExperimentReport, report_on
from app.http.admin_access import By
from app.http.openapi import problems_of
from app.http.operator_errors import asked
from app.http.parameters import UnderName
from app.http.problems import Problem
from app.http.requests import ExperimentRequest
from app.http.responses import Experiments
from app.service import Service
from model_store.deployment import now
from model_store.deployments import DEFAULT
from model_store.experiment import Experiment

_ARMS = [
    {"name": "control", "share": 50},
    {"name": "varied", "share": 50, "defaults": {"diversity": 0.3}},
]
_Body = Annotated[
    ExperimentRequest,
    FromBody(
        openapi_examples={
            "defaults": {
                "summary": "More diverse answers for half of the users",
                "value": {"name": "diverse", "arms": _ARMS},
            }
        }
    ),
]
_Force = Annotated[
    bool, Query(description="Also versions whose items lack attributes of the active one's.")
]


def add_experiment_routes(router: APIRouter, service: Service) -> None:
    """Add them to the admin router, whose prefix and checks they share."""
    operations = service.operations

    async def start(
        name: str, body: ExperimentRequest, by: str, force: bool, model: str
    ) -> Experiment:
        experiment = Experiment(name=name, salt=body.salt or name, since=now(), arms=body.arms)
        return await asked(
            operations.change(
                lambda rollout: rollout.start_experiment(experiment, force=force),
                by=by,
                model=model,
            )
        )

    @router.get("/experiments", summary="The experiments that run, and those that ended lately")
    async def list_experiments() -> Experiments:
        deployments, _ = await asked(operations.deployments())
        return Experiments(experiments=list(deployments.kept_experiments))

    @router.post(
        "/experiments",
        summary="Let arms of users be answered differently",
        responses=problems_of(404, 409, 424),
    )
    async def start_experiment(
        body: _Body, by: By, force: _Force = False, model: UnderName = DEFAULT
    ) -> Experiment:
        if body.name is None:
            raise Problem(422, "name: Field required")
        return await start(body.name, body, by, force, model)

    @router.post(
        "/experiments/{name}",
        summary="The same, with the name in the path",
        responses=problems_of(404, 409, 424),
    )
    async def start_named_experiment(
        name: str, body: _Body, by: By, force: _Force = False, model: UnderName = DEFAULT
    ) -> Experiment:
        if body.name not in (None, name):
            raise Problem(422, f"name: it is {name!r} in the path (got {body.name!r})")
        return await start(name, body, by, force, model)

    @router.get(
        "/experiments/{name}",
        summary="Exposures and clicks by arm, and the effect with its interval",
        responses=problems_of(404),
    )
    async def get_experiment(name: str) -> ExperimentReport:
        return await asked(_report(name))

    @router.delete(
        "/experiments/{name}",
        summary="End an experiment; its figures are kept for a while",
        responses=problems_of(404, 409),
    )
    async def stop_experiment(name: str, by: By) -> ExperimentReport:
        await asked(_stop(name, by))
        return await asked(_report(name))

    async def _stop(name: str, by: str) -> None:
        deployments, _ = await operations.deployments()
        model = deployments.model_of(name)
        await operations.change(lambda rollout: rollout.stop_experiment(name), by=by, model=model)

    async def _report(name: str) -> ExperimentReport:
        deployments, _ = await operations.deployments()
        experiment = deployments.find_experiment(name)
        return report_on(experiment, await service.exposures.read(experiment))
