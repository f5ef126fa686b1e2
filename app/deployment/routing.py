"""Which version answers whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from zlib import crc32

from app.deployment.arms import RoutedArm, RoutedExperiment, route_experiment
from app.deployment.buckets import N_BUCKETS, bucket_of
from app.model.model import Model
from model_store.deployment import Deployment
from model_store.deployments import DEFAULT
from model_store.experiment_counts import Scope


@dataclass(frozen=True, eq=False)
class Trial:
    """A canary as requests see it: its model, and the share of the users that it answers."""

    model: Model
    percent: float
    salt: str
    epoch: str
    """Changes with the share and with the active version: only counts of one are compared."""

    def takes(self, who: str) -> bool:
        """Whether it answers this user; always the same users, and more of them as it grows."""
        return bucket_of(who, self.salt) < self.percent * (N_BUCKETS / 100)


@dataclass(frozen=True, eq=False)
class ShadowModel:
    """A shadow as requests see it: its model, and the share of the requests that it answers too."""

    model: Model
    share: float

    def takes(self, request_id: str) -> bool:
        """Whether it answers this request too; the same everywhere, and not by user.

        By a checksum, which costs every request a fifth of what `bucket_of` does.
        """
        checksum = crc32(request_id.encode("utf-8", "replace"), self._seed)
        return checksum % N_BUCKETS < self.share * (N_BUCKETS / 100)

    @cached_property
    def _seed(self) -> int:
        return crc32(self.model.version.encode("utf-8", "replace"))


SAMPLED = 1 / 16
"""Of the users, whose clicks are counted where nothing is compared."""
_SAMPLED_OF_10000 = round(SAMPLED * 10_000)


def is_sampled(user_id: str) -> bool:
    """Whether a user is of the sample; the same everywhere and at all times."""
    return crc32(user_id.encode("utf-8", "replace")) % 10_000 < _SAMPLED_OF_10000


@dataclass(frozen=True, eq=False)
class Routing:
    """The models that answer; replaced as a whole, so that a request sees one state."""

    active: Model
    trial: Trial | None = None
    shadow: ShadowModel | None = None
    """None for nearly all services: what a request looks at to know that nothing is to be done."""
    experiment: RoutedExperiment | None = None
    name: str = DEFAULT
    """That requests give as `model`."""
    period: Scope | None = None
    """In which clicks are counted by version; None where not all of its versions are loaded."""

    def arm_for(self, user_id: str | None, request_id: str) -> RoutedArm | None:
        """The arm of the experiment that a request belongs to; arguments as for `model_for`."""
        return self.experiment.arm_of(user_id or request_id) if self.experiment else None

    def counts(self, user_id: str | None) -> bool:
        """Whether what a user is shown and clicks is counted by version.

        That of all users, where versions or arms are compared; of a version alone, that of a
        sample, whose rate is the same: to count everybody's takes a tenth of a request's CPU time.
        """
        if user_id is None or self.period is None:
            return False
        return self._is_compared or is_sampled(user_id)

    @cached_property
    def _is_compared(self) -> bool:
        return self.trial is not None or self.experiment is not None

    def arm_name_of(self, user_id: str) -> str:
        """The name of a user's arm; empty outside of all."""
        return (self.experiment.arm_name_of(user_id) or "") if self.experiment else ""

    def model_for(
        self, user_id: str | None, request_id: str, arm: RoutedArm | None = None
    ) -> Model:
        """The model for a request.

        Args:
            user_id: None for a stateless request, which is routed by its own id.
            request_id: of the request; a client that wants its stateless requests to stay with one
                version sends the same X-Request-ID with each.
            arm: that the request belongs to.
        """
        if arm is not None and arm.model is not None:
            return arm.model
        if self.trial is not None and self.trial.takes(user_id or request_id):
            return self.trial.model
        return self.active

    def with_model(self, model: Model) -> Routing:
        """The same, with another state of a version."""
        active, trial, shadow = self.active, self.trial, self.shadow
        if active.version == model.version:
            active = model
        if trial is not None and trial.model.version == model.version:
            trial = replace(trial, model=model)
        if shadow is not None and shadow.model.version == model.version:
            shadow = replace(shadow, model=model)
        experiment = self.experiment.with_model(model) if self.experiment else None
        return Routing(active, trial, shadow, experiment, self.name, self.period)

    def is_as(self, other: Routing | None) -> bool:
        """Whether the other one leads every request to the same model."""
        return other is not None and self._parts() == other._parts()

    def _parts(self) -> tuple[object, ...]:
        # Models are told apart by identity: to compare their arrays would take long.
        trial, shadow = self.trial, self.shadow
        shares = () if trial is None else (trial.percent, trial.salt, trial.epoch)
        unseen = () if shadow is None else (id(shadow.model), shadow.share)
        arms = self.experiment.parts if self.experiment else ()
        # A version that answers again, after another, does so in a period of its own.
        period = self.period.period if self.period else None
        return (*map(id, self.models), *shares, *unseen, *arms, period)

    def role_of(self, version: str) -> str | None:
        """What a version is here, for operators; None: nothing."""
        if self.trial is not None and version == self.trial.model.version:
            return "canary"
        if self.shadow is not None and version == self.shadow.model.version:
            return "shadow"
        if version == self.active.version:
            return "serving"
        if self.experiment and version in {model.version for model in self.experiment.models}:
            return f"in experiment {self.experiment.name}"
        return None

    @property
    def tried(self) -> tuple[str, ...]:
        """What goes on here beside the active version, for operators."""
        found = {
            "the canary": self.trial,
            "the shadow": self.shadow,
            "the experiment": self.experiment,
        }
        return tuple(what for what, one in found.items() if one is not None)

    @property
    def models(self) -> tuple[Model, ...]:
        """All models that answer somebody."""
        found = [self.active]
        if self.trial is not None:
            found.append(self.trial.model)
        if self.experiment is not None:
            found += self.experiment.models
        return tuple({id(model): model for model in found}.values())

    @property
    def answering(self) -> frozenset[tuple[str, str]]:
        """Which version answers which arm; an empty one is of users in no arm."""
        others = (self.active,) if self.trial is None else (self.active, self.trial.model)
        found = {(model.version, "") for model in others}
        for arm in self.experiment.arms if self.experiment else ():
            own = others if arm.model is None else (arm.model,)
            found.update((model.version, arm.name) for model in own)
        return frozenset(found)

    @property
    def all_models(self) -> tuple[Model, ...]:
        """Those that answer somebody, and the shadow."""
        return self.models if self.shadow is None else (*self.models, self.shadow.model)


def route(name: str, deployment: Deployment, active: Model, loaded: Mapping[str, Model]) -> Routing:
    """The routing that a deployment record asks for, as far as its versions are loaded.

    Args:
        name: that requests give as `model`.
        deployment: its record.
        active: answers for the active version, perhaps an earlier one.
        loaded: models by version.
    """
    trial, canary = None, deployment.canary
    if canary is not None and canary.version in loaded:
        trial = Trial(loaded[canary.version], canary.percent, canary.salt, canary.epoch)
    shadow, unseen = None, deployment.shadow
    if unseen is not None and unseen.version in loaded:
        shadow = ShadowModel(loaded[unseen.version], unseen.share)
    experiment = route_experiment(deployment.experiment, loaded)
    asked = (deployment.active, canary is None, deployment.experiment is None)
    period = period_of(name, deployment)
    if asked != (active.version, trial is None, experiment is None):
        period = None
    return Routing(active, trial, shadow, experiment, name, period)


def period_of(name: str, deployment: Deployment) -> Scope | None:
    """In which clicks are counted by version, by the deployment record of a name.

    None where no version is active.
    """
    if deployment.active is None:
        return None
    generation, since = deployment.generation, deployment.answering_since
    return Scope.of_name(name, generation, since, deployment.split)
