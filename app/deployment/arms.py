"""An experiment as requests see it: who is in which arm, and what is different there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.deployment.buckets import N_BUCKETS, bucket_of
from app.model.model import Model
from model_store.experiment import Experiment
from model_store.experiment_counts import Scope


@dataclass(frozen=True, eq=False)
class RoutedArm:
    """One arm.

    Attributes:
        model: of its version; None: whichever answers its users otherwise.
        defaults: fields for requests that don't set them.
        end: the first bucket after its own.
    """

    name: str
    model: Model | None
    defaults: Mapping[str, Any]
    end: int


@dataclass(frozen=True, eq=False)
class RoutedExperiment:
    """An experiment whose versions are all loaded."""

    name: str
    salt: str
    arms: tuple[RoutedArm, ...]

    def arm_of(self, who: str) -> RoutedArm | None:
        """The arm that somebody is in, always the same one; None outside of all shares."""
        bucket = bucket_of(who, self.salt)
        for arm in self.arms:
            if bucket < arm.end:
                return arm
        return None

    @property
    def scope(self) -> Scope:
        """In which its exposures and clicks are counted."""
        return Scope(self.name)

    def arm_name_of(self, who: str) -> str | None:
        """The name of the arm that somebody is in."""
        arm = self.arm_of(who)
        return None if arm is None else arm.name

    @property
    def models(self) -> tuple[Model, ...]:
        """Models of the arms that have versions of their own."""
        return tuple(arm.model for arm in self.arms if arm.model is not None)

    def with_model(self, model: Model) -> RoutedExperiment:
        """The same, with another state of a version."""
        arms = (
            replace(arm, model=model) if arm.model and arm.model.version == model.version else arm
            for arm in self.arms
        )
        return replace(self, arms=tuple(arms))

    @property
    def parts(self) -> tuple[object, ...]:
        """What tells two experiments apart; models are told apart by identity."""
        return (self.name, self.salt, *(id(arm.model) for arm in self.arms))


def route_experiment(
    experiment: Experiment | None, loaded: Mapping[str, Model]
) -> RoutedExperiment | None:
    """The experiment that runs, for requests.

    A worker that lacks a version of an arm answers nobody by the experiment: if it gave the arm's
    users another version, their answers would be counted for what they didn't get.

    Args:
        experiment: of the deployment record.
        loaded: models by version.
    """
    if experiment is None or not set(experiment.versions) <= loaded.keys():
        return None
    arms, share = [], 0.0
    for arm in experiment.arms:
        share += arm.share
        arms.append(
            RoutedArm(
                name=arm.name,
                model=loaded[arm.version] if arm.version else None,
                defaults=arm.defaults.given(),
                end=round(share * N_BUCKETS / 100),
            )
        )
    return RoutedExperiment(experiment.name, experiment.salt, tuple(arms))
