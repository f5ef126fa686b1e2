"""Brings a version to all workers at once, in two phases.

First every live worker loads the version beside the one that answers, and checks it; a worker that
can't ends the rollout, and the old version goes on everywhere. Only when all of them have it does
the deployment record change, and all swap within milliseconds. Whoever wants the change, a command
or a service, runs this; it may be killed at any moment: what it has asked for expires.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from pydantic import BaseModel, ConfigDict, Field

from model_store.compatibility import check_attributes
from model_store.deployment import who
from model_store.deployments import DEFAULT
from model_store.errors import RegistryError, StoreAway
from model_store.experiment import Experiment
from model_store.fresh_items import Carried, carry_over
from model_store.preparation import Preparation, Report
from model_store.registry import Registry
from model_store.remote_bundles import Bundles
from model_store.rule_registry import RuleRegistry
from model_store.rules import Replaced, Rule, RuleSet
from model_store.workers import WorkerState, live_workers

PAUSE_S = 0.02
FOLLOW_S = 10.0
IN_FLIGHT_S = 1.0
"""Longer than any request goes on with the version that it began with."""


class Rolled(BaseModel):
    """The outcome of a rollout."""

    model_config = ConfigDict(frozen=True)

    active: str
    model: str = Field(DEFAULT, description="the name under which it is active")
    previous: str | None
    workers: int = Field(description="workers that answer with it")
    fresh_items: Carried = Field(description="what became of the fresh items of the version before")
    rule_warnings: tuple[str, ...] = Field(
        (), description="rules that do nothing with this version, or not all they say"
    )


class Ruled(RuleSet):
    """The rules in force, and how far they are known to work."""

    generation: int = Field(description="Of the deployment record.")
    workers: int = Field(description="Live workers that follow these rules.")
    warnings: tuple[str, ...] = Field(
        description="Rules that do nothing for a version that answers, or not all they say."
    )
    earlier: tuple[Replaced, ...] = Field(description="What rollbacks lead to, newest first.")


class Rollout:
    """Changes which versions answer, for all workers.

    All methods raise StoreAway when the store can't be reached.

    Args:
        client: of the store.
        bundles_dir: where published bundles are.
        why: origin of changes for the audit: a command, the admin API.
        report: called during waits.
        by: author of changes, where it isn't the user of this process.
        model: the name under which versions are activated, tried and compared.
        seen: generation of the name's record that the change was decided on; where it has changed
            since, every method raises RegistryError and does nothing.

    Raises:
        RegistryError: there can't be such a name.
    """

    def __init__(
        self,
        client: redis.Redis,
        bundles_dir: Bundles,
        why: str,
        report: Report | None = None,
        *,
        by: str | None = None,
        model: str = DEFAULT,
        seen: int | None = None,
    ) -> None:
        self._client: Any = client
        self._registry = Registry(client, why, by=by, model=model, seen=seen)
        self._model = model
        self._by = by or who()
        self._bundles_dir = bundles_dir
        self._why = why
        self._report = report or (lambda _what, _done, _total: None)
        self._preparation = Preparation(client, self._by, why, self._report)

    def activate(self, version: str, *, force: bool = False) -> Rolled:
        """Make a version the active one.

        Args:
            version: published.
            force: also where its items lack an attribute that those of the active version have.

        Raises:
            RegistryError: it isn't published, it lacks an attribute, or another rollout goes on.
            BundleError: a worker can't load it; the message has its reason.
        """
        return self._activate(version, lambda registry: registry.activate(version), force)

    def rollback(self) -> Rolled:
        """Activate the version that was active before.

        Raises:
            RegistryError: there is none, or another rollout goes on.
            BundleError: a worker can't load it.
        """
        version = self._registry.dry().rollback()
        left = self._registry.active()

        def change(registry: Registry) -> str | None:
            registry.rollback(version)
            return left

        return self._activate(version, change, force=True)

    def deactivate(self) -> str:
        """Have the name answer no more, and wait until it doesn't; returns the version it had.

        Raises:
            RegistryError: it is the default, or no version is active under it.
        """
        left = self._registry.deactivate()
        self._wait_until_followed()
        return left

    def promote(self, version: str) -> Rolled:
        """Make the canary the active version.

        Raises:
            RegistryError: this version is not the canary, or another rollout goes on.
            BundleError: a worker can't load it.
        """
        return self._activate(version, lambda registry: registry.promote(version), force=True)

    def canary(self, version: str, percent: float, *, force: bool = False) -> float:
        """Let a version answer a share of the users, and wait until it does.

        Args:
            version: published, not the active one.
            percent: 0 to 100; 0 ends the canary.
            force: as for `activate`.

        Returns:
            The percentage.

        Raises:
            RegistryError: it can't be the canary, or another rollout goes on.
            BundleError: a worker can't load it.
        """
        if percent > 0:
            self._registry.dry().canary(version, percent)
            self._check_attributes(version, force)
            with self._preparation.of(version) as lease:
                self._registry.holding(lease).canary(version, percent)
        else:
            self._registry.canary(version, 0)
        self._wait_until_followed()
        return percent

    def shadow(self, version: str, share: float) -> float:
        """Let a version answer a share of the requests unseen, and wait until it is loaded.

        Args:
            version: published, one that answers nobody.
            share: 0 to 100; 0 ends the shadow.

        Returns:
            The share.

        Raises:
            RegistryError: it can't be the shadow, or another rollout goes on.
            BundleError: a worker can't load it.
        """
        if share > 0:
            self._registry.dry().shadow(version, share)
            with self._preparation.of(version) as lease:
                self._registry.holding(lease).shadow(version, share)
        else:
            self._registry.shadow(version, 0)
        self._wait_until_followed()
        return share

    def start_experiment(self, experiment: Experiment, *, force: bool = False) -> Experiment:
        """Let the arms of an experiment answer their users, and wait until they do.

        Args:
            experiment: a new one.
            force: also where items of an arm's version lack an attribute, as for `activate`.

        Raises:
            RegistryError: it can't be started now, or another rollout goes on.
            BundleError: a worker can't load a version of an arm.
        """
        self._registry.dry().start_experiment(experiment)
        active = self._registry.active()
        for version in experiment.versions:
            self._check_attributes(version, force)
            if active is not None:
                # An arm that didn't know the fresh items would be compared unfairly.
                carry_over(active, version, self._client)
        with self._preparation.of(*experiment.versions) as lease:
            self._registry.holding(lease).start_experiment(experiment)
        self._wait_until_followed()
        return experiment

    def stop_experiment(self, name: str) -> Experiment:
        """End an experiment, and wait until nobody is answered by its arms.

        Raises:
            UnknownExperiment: there is none of this name.
            RegistryError: it has ended already.
        """
        stopped = self._registry.stop_experiment(name)
        self._wait_until_followed()
        return stopped

    def set_rules(self, rules: Sequence[Rule]) -> Ruled:
        """Replace the rules, and wait until all workers follow them."""
        self._rules().set_rules(rules)
        self._wait_until_followed()
        with _after_the_change():
            return self.rules()

    def roll_back_rules(self) -> Ruled:
        """Apply the rules that were in force before, and wait until all workers follow them.

        Raises:
            RegistryError: there were none before, or they were changed just now.
        """
        self._rules().roll_back_rules()
        self._wait_until_followed()
        with _after_the_change():
            return self.rules()

    def rules(self) -> Ruled:
        """The rules in force."""
        registry = self._rules()
        deployments, workers = registry.deployments(), live_workers(self._client)
        deployment = deployments.default
        return Ruled(
            **dict(deployment.rules),
            generation=deployment.generation,
            earlier=tuple(one.replaced() for one in registry.earlier_rules()),
            workers=sum(one.generation >= deployment.generation for one in workers),
            warnings=tuple(
                f"version {version!r}: {warning}"
                for version in deployments.versions
                for warning in _rule_warnings(version, workers)
            ),
        )

    def _rules(self) -> RuleRegistry:
        return RuleRegistry(self._client, self._why, by=self._by)

    def lost_items(self, version: str) -> int:
        """How many fresh items of the active version another one could not place."""
        active = self._registry.active()
        return carry_over(active, version, self._client, dry_run=True).lost if active else 0

    def retire(self, version: str, *, wait_s: float = FOLLOW_S) -> int:
        """Remove a version when no worker answers with it; returns the number of keys.

        Raises:
            RegistryError: it isn't published, it answers, or workers don't leave it in time.
        """
        self._registry.dry().retire(version)
        deadline_s = time.monotonic() + wait_s
        while users := [one for one in live_workers(self._client) if version in one.loaded]:
            if time.monotonic() > deadline_s:
                names = ", ".join(one.name for one in users)
                raise RegistryError(f"{names}: still at version {version!r}; nothing is removed")
            self._report("leaving", 0, len(users))
            time.sleep(PAUSE_S)
        if live_workers(self._client):
            time.sleep(IN_FLIGHT_S)
        return self._registry.retire(version)

    # --- implementation --------------------------------------------------------------

    def _activate(
        self, version: str, change: Callable[[Registry], str | None], force: bool
    ) -> Rolled:
        self._registry.get(version)
        change(self._registry.dry())
        self._check_attributes(version, force)
        before = self._registry.active()
        # Before the workers load the version, so that they load these too.
        carried = carry_over(before, version, self._client) if before else Carried()
        with self._preparation.of(version) as lease:
            previous = change(self._registry.holding(lease))
        n_workers = self._wait_until_followed()
        with _after_the_change():
            warnings = _rule_warnings(version, live_workers(self._client))
        return Rolled(
            active=version,
            model=self._model,
            previous=previous,
            workers=n_workers,
            fresh_items=carried,
            rule_warnings=warnings,
        )

    def _check_attributes(self, version: str, force: bool) -> None:
        active = self._registry.active()
        if active is not None and active != version and not force:
            before, after = self._registry.get(active), self._registry.get(version)
            check_attributes(before, after, self._bundles_dir)

    def _wait_until_followed(self) -> int:
        """Wait until all live workers follow the record; returns their number.

        A worker that doesn't in time is left behind: it says so in its state, and follows later.
        """
        with _after_the_change():
            return self._wait_for_workers()

    def _wait_for_workers(self) -> int:
        deployment = self._registry.deployment()
        deadline_s = time.monotonic() + FOLLOW_S
        n_done = -1
        while True:
            workers = [one for one in live_workers(self._client) if one.state != "starting"]
            # Those of an earlier release know no names, and will never follow.
            states = [state for one in workers if (state := one.under(self._model)) is not None]
            following = [one for one in states if one.generation >= deployment.generation]
            if n_done != (n_done := len(following)):
                self._report("following", n_done, len(states))
            if n_done == len(states) or time.monotonic() > deadline_s:
                return n_done
            time.sleep(PAUSE_S)


@contextmanager
def _after_the_change() -> Iterator[None]:
    """Say of a store that goes away now that the change is made: nobody must think it is not."""
    try:
        yield
    except StoreAway as error:
        raise StoreAway(
            f"the change is made, but whether all workers follow it can't be seen: {error}"
        ) from error


def _rule_warnings(version: str, workers: Sequence[WorkerState]) -> tuple[str, ...]:
    """What workers say of the rules with a version; all that have it loaded say the same."""
    for worker in workers:
        if version in worker.loaded:
            return worker.rule_warnings.get(version, ())
    return ()
