"""What an experiment has shown so far: users, exposures and clicks by arm, and the effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from app.experiments.effect import CONFIDENCE, effect_of
from app.experiments.moments import Moments
from app.experiments.sample_ratio import check_sample_ratio
from model_store.experiment import Arm, Experiment


class ArmReport(Arm):
    """An arm and its figures."""

    users: int = Field(description="With an exposure or a click.")
    exposures: int = Field(description="Answers.")
    clicks: int = Field(description="Events that carry the `request_id` of an answer.")
    rate: float | None = Field(description="Clicks per exposure.")
    effect: dict[str, float | str | None] | None = Field(
        description="Null for the control. `difference` to the control's rate with its interval "
        "from `low` to `high`, `relative` to it from `relative_low` to `relative_high`, `p`; "
        "`unknown` says why there is no interval."
    )


class ExperimentReport(BaseModel):
    """An experiment and its figures."""

    name: str
    salt: str
    since: str = Field(description="ISO time, UTC.")
    stopped: str | None = Field(description="ISO time, UTC; null while it runs.")
    confidence: float = Field(description="Of the intervals.")
    arms: list[ArmReport] = Field(description="The first one is the control.")
    sample_ratio: dict[str, Any] = Field(
        description="`noticed` is true where users did not fall on the arms as wanted, and effects "
        "say nothing; `p`, and a `reason` for people."
    )


def report_on(experiment: Experiment, counted: Mapping[str, Moments]) -> ExperimentReport:
    """The figures of an experiment.

    Args:
        experiment: running or ended.
        counted: of each arm.
    """
    control = counted[experiment.arms[0].name]
    arms = []
    for arm in experiment.arms:
        moments = counted[arm.name]
        report = ArmReport(
            name=arm.name,
            share=arm.share,
            version=arm.version,
            defaults=arm.defaults,
            users=moments.users,
            exposures=moments.exposures,
            clicks=moments.clicks,
            rate=moments.clicks / moments.exposures if moments.exposures else None,
            effect=None if moments is control else effect_of(moments, control).to_document(),
        )
        arms.append(report)
    ratio = check_sample_ratio(
        {name: moments.users for name, moments in counted.items()},
        {arm.name: arm.share for arm in experiment.arms},
    )
    return ExperimentReport(
        **experiment.model_dump(exclude={"arms"}),
        confidence=CONFIDENCE,
        arms=arms,
        sample_ratio=ratio.to_document(),
    )
