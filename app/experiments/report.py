"""What was shown and clicked so far: users, exposures and clicks by arm and version, the effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from app.experiments.effect import CONFIDENCE, effect_of, rate_of
from app.experiments.moments import Moments
from app.experiments.sample_ratio import check_sample_ratio
from model_store.experiment import Arm, Experiment

_EFFECT = (
    "`difference` to its rate with its interval from `low` to `high`, `relative` to it from "
    "`relative_low` to `relative_high`, `p`; `unknown` says why there is no interval."
)


class Figures(BaseModel):
    """What users saw and clicked."""

    users: int = Field(description="With an exposure or a click.")
    exposures: int = Field(description="Answers.")
    clicks: int = Field(description="Events that carry the `request_id` of an answer.")
    rate: float | None = Field(description="Clicks per exposure.")
    # A service of an earlier release tells no interval and no versions.
    low: float | None = Field(
        default=None, description="Lower end of its interval; null: it can't be told."
    )
    high: float | None = Field(default=None, description="Upper end of its interval.")


class VersionFigures(Figures):
    """The same of what one version answered."""

    version: str


class ArmReport(Arm, Figures):
    """An arm and its figures."""

    versions: list[VersionFigures] = Field(
        default=[],
        description="By the version that answered: several where the arm's own is not given, and "
        "a canary answered too or another version became active. Clicks are those that follow one "
        "of the last answers to their user.",
    )
    effect: dict[str, float | str | None] | None = Field(
        description=f"Null for the control, with which others are compared. {_EFFECT}"
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


class ClicksOfVersion(VersionFigures):
    """What one version answered in an arm, or to users in none."""

    arm: str = Field(description="Of the experiment that runs; empty: users in no arm.")
    effect: dict[str, float | str | None] | None = Field(
        description="Of another version than the active one, which it is compared with where that "
        f"answers users of the same arm. {_EFFECT}"
    )


class ClicksByVersion(BaseModel):
    """Clicks per exposure by version and arm, since the present versions answer under a name."""

    model: str = Field(description="The name.")
    since: str | None = Field(
        description="ISO time, UTC, of the first answer that counts; null: there is none yet. "
        "Counting begins anew when the active version, the canary or its share, or the experiment "
        "changes."
    )
    share: float = Field(
        description="Of the answers: LONGTAIL_EXPOSURE_SHARE of the service that was asked, and an "
        "eighth of that, by user, where a version answers alone. At 0 it counts none."
    )
    confidence: float = Field(description="Of the intervals.")
    versions: list[ClicksOfVersion] = Field(description="By arm, the active version first.")


def report_on(
    experiment: Experiment,
    counted: Mapping[str, Moments],
    by_version: Mapping[tuple[str, str], Moments],
) -> ExperimentReport:
    """The figures of an experiment.

    Args:
        experiment: running or ended.
        counted: of each arm.
        by_version: of arms and versions.
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
            **_figures(moments),
            versions=[
                VersionFigures(version=version, **_figures(by_version[name, version]))
                for name, version in sorted(by_version)
                if name == arm.name
            ],
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


def clicks_of(
    active: str | None, by_version: Mapping[tuple[str, str], Moments]
) -> list[ClicksOfVersion]:
    """Clicks per exposure by arm and version.

    Args:
        active: the active version.
        by_version: of arms and versions.
    """
    found = []
    for arm, version in sorted(by_version, key=lambda pair: (pair[0], pair[1] != active, pair[1])):
        moments, control = by_version[arm, version], by_version.get((arm, active or ""))
        effect = None
        if control is not None and moments is not control:
            effect = effect_of(moments, control).to_document()
        found.append(ClicksOfVersion(version=version, arm=arm, **_figures(moments), effect=effect))
    return found


def _figures(moments: Moments) -> dict[str, Any]:
    """The fields of `Figures`."""
    rate = rate_of(moments)
    return {
        "users": moments.users,
        "exposures": moments.exposures,
        "clicks": moments.clicks,
        "rate": rate.value,
        "low": rate.low,
        "high": rate.high,
    }
