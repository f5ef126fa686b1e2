"""The registry: published versions, and the deployment record with the active one."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import redis
from pydantic import ValidationError

from model_store import keys
from model_store.deployment import Deployment
from model_store.deployment_rules import (
    activating,
    check_seen,
    check_unused,
    deactivating,
    no_canary,
    not_published,
    retiring,
    rolling_back,
    shadowing,
    starting,
    trying,
)
from model_store.deployment_store import DeploymentStore
from model_store.deployments import DEFAULT, Deployments, check_name
from model_store.errors import RegistryError
from model_store.experiment import Experiment
from model_store.experiment_counts import expiry_commands, removal_commands
from model_store.manifest import check_version
from model_store.model_record import ModelRecord
from model_store.preparation import check_lease
from model_store.remote_bundles import Bundles
from model_store.store import store_errors

log = logging.getLogger(__name__)

Decide = Callable[[Deployment, set[str], Deployments], Deployment]
"""Computes a new record from the present one, the published versions and all names' records."""

_DELETE_BATCH = 1_000


class Registry:
    """Versions in the store. Every change is one transaction; two operators can't tear it.

    Foreign values under these keys are ignored, with one warning for each.

    All methods raise StoreAway when the store can't be reached.

    Args:
        client: of the store.
        why: origin of changes for the audit: a command, the admin API.
        by: author of changes for the audit, where it isn't the user of this process.
        model: name of the deployment record that is read and changed.
        seen: generation of the record that changes were decided on; another one stays as it is.

    Raises:
        RegistryError: there can't be such a name.
    """

    def __init__(
        self,
        client: redis.Redis,
        why: str = "",
        *,
        by: str | None = None,
        model: str = DEFAULT,
        seen: int | None = None,
    ) -> None:
        # redis-py's types leave open whether an answer is bytes, text or awaitable.
        self._client: Any = client
        self._store = DeploymentStore(client, why, by)
        self._by = self._store.by
        self._model = check_name(model)
        self._seen = seen
        self._lease: bytes | None = None
        self._is_dry = False
        self._passed_over: dict[bytes, bytes] = {}

    def dry(self) -> Self:
        """The same registry, whose changes are checked and not made."""
        other = copy.copy(self)
        other._is_dry = True
        return other

    def holding(self, lease: bytes) -> Self:
        """The same registry, which changes something only while a preparation's lease holds."""
        other = copy.copy(self)
        other._lease = lease
        return other

    # --- versions ------------------------------------------------------------------------

    def add(self, record: ModelRecord) -> None:
        """Record a published version; its features and vectors must be in the store by then."""
        with store_errors():
            self._client.hset(keys.MODELS, record.version, record.model_dump_json())

    def records(self) -> list[ModelRecord]:
        """All versions, oldest publication first."""
        with store_errors():
            entries = self._client.hgetall(keys.MODELS)
        return sorted(
            self._readable(entries).values(),
            key=lambda record: (record.published_at, record.version),
        )

    def get(self, version: str) -> ModelRecord:
        """One version.

        Raises:
            RegistryError: it isn't there; the message names those that are.
        """
        records = self.records()
        for record in records:
            if record.version == version:
                return record
        raise not_published(version, [record.version for record in records])

    def folder_of(self, version: str, bundles: Bundles) -> Path:
        """The folder of a published version's bundle on this machine; see `ModelRecord.folder_in`.

        Versions that any name's record is about stay in the cache of those at a URL.

        Raises:
            RegistryError: it isn't published.
            BundleUnavailable: it is at a URL, and can't be downloaded.
        """
        return self.get(version).folder_in(bundles, self.deployments().versions)

    def _readable(self, entries: dict[bytes, bytes]) -> dict[str, ModelRecord]:
        """Records by version, without invalid ones."""
        found = {}
        for name, entry in entries.items():
            try:
                record = ModelRecord.model_validate_json(entry)
                if check_version(record.version).encode() != name:
                    raise ValueError(f"it is of version {record.version!r}")
            except ValidationError as error:
                self._pass_over(name, entry, error.errors(include_url=False)[0]["msg"])
            except ValueError as error:
                self._pass_over(name, entry, str(error))
            else:
                found[record.version] = record
        return found

    def _pass_over(self, name: bytes, content: bytes, why: str) -> None:
        if self._passed_over.get(name) != content:
            self._passed_over[name] = content
            log.warning("%s: ignoring %r, no model record (%s)", keys.MODELS, name[:64], why)

    # --- which one answers ---------------------------------------------------------------

    def deployment(self) -> Deployment:
        """The deployment record; if it can't be read, the next activation writes a new one."""
        return self._store.read().of(self._model)

    def deployments(self) -> Deployments:
        """The deployment records of all names."""
        return self._store.read()

    def active(self) -> str | None:
        """The active version, None before the first activation."""
        return self.deployment().active

    def activate(self, version: str) -> str | None:
        """Make a version the active one; returns the one before.

        Raises:
            RegistryError: the version isn't published, or there are too many names already.
        """

        def decide(before: Deployment, published: set[str], found: Deployments) -> Deployment:
            return activating(version, self._model, before, published, found)

        return self._change(decide, f"activate {version}")[0].active

    def deactivate(self) -> str:
        """Have the name answer no more; returns the version that was active under it.

        Raises:
            RegistryError: it is the default, or no version is active under it.
        """
        running: list[str] = []

        def decide(before: Deployment, _published: object, found: Deployments) -> Deployment:
            running[:] = [before.experiment.name] if before.experiment else []
            return deactivating(self._model, found)

        def clean(pipe: Any) -> None:
            commands = removal_commands(self._model)
            for name in running:
                commands += expiry_commands(name)
            for command in commands:
                pipe.execute_command(*command)

        left = self._change(decide, "deactivate", clean)[0].active
        assert left is not None  # noqa: S101 - `decide` has seen to it
        return left

    def promote(self, version: str) -> str | None:
        """Make the canary the active version; returns the one before.

        Raises:
            RegistryError: this version is not the canary.
        """

        def decide(before: Deployment, *_others: object) -> Deployment:
            if before.canary is None or before.canary.version != version:
                raise no_canary(version, before)
            return before.activating(version)

        return self._change(decide, f"promote {version}")[0].active

    def canary(self, version: str, percent: float) -> Deployment:
        """Let a version answer a share of the users; 0 ends that. Returns the new record.

        Raises:
            RegistryError: it isn't published, it is the active one, or 0 and it is no canary.
        """
        what = f"canary {version} at {percent:g} %" if percent else f"end the canary {version}"
        return self._change(lambda *given: trying(version, percent, *given[:2]), what)[1]

    def take_back(self, epoch: str, reason: str) -> Deployment:
        """End a canary because it is worse; returns the new record.

        Args:
            epoch: of the canary: one that was changed meanwhile stays.
            reason: for the audit.

        Raises:
            RegistryError: there is no such canary any more.
        """

        def decide(before: Deployment, *_others: object) -> Deployment:
            if before.canary is None or before.canary.epoch != epoch:
                raise RegistryError("the canary was changed meanwhile")
            return before.trying(before.canary.version, 0)

        return self._change(decide, f"take the canary back: {reason}")[1]

    def shadow(self, version: str, share: float) -> Deployment:
        """Let a version answer a share of the requests unseen; 0 ends that. Returns the new record.

        Raises:
            RegistryError: it isn't published, it answers users, or 0 and it is no shadow.
        """
        what = f"shadow {version} at {share:g} %" if share else f"end the shadow {version}"
        return self._change(lambda *given: shadowing(version, share, *given[:2]), what)[1]

    def start_experiment(self, experiment: Experiment) -> Deployment:
        """Let the arms of an experiment answer their users; returns the new record.

        Raises:
            RegistryError: another one runs, its name was in use lately, one of its versions isn't
                published, or there is a canary beside its versions.
        """
        what = f"start the experiment {experiment.name}: {experiment.describe()}"

        def decide(before: Deployment, published: set[str], found: Deployments) -> Deployment:
            check_unused(experiment.name, self._model, found)
            return starting(experiment, before, published)

        return self._change(decide, what)[1]

    def stop_experiment(self, name: str) -> Experiment:
        """End an experiment; its figures are kept for a while.

        Raises:
            UnknownExperiment: there is none of this name.
            RegistryError: it has ended already.
        """

        def decide(before: Deployment, *_others: object) -> Deployment:
            found = before.find_experiment(name)
            if found.stopped is not None:
                raise RegistryError(f"experiment {name!r} has ended already, at {found.stopped}")
            return before.stopping(name)

        def expire(pipe: Any) -> None:
            for command in expiry_commands(name):
                pipe.execute_command(*command)

        after = self._change(decide, f"stop the experiment {name}", expire)[1]
        return after.find_experiment(name)

    def rollback(self, expected: str | None = None) -> str:
        """Activate the version that was active before; returns it.

        Args:
            expected: the version that it must be.

        Raises:
            RegistryError: nothing was active before, all of it has been retired, it is another
                version than expected, or there are too many names already.
        """

        def decide(before: Deployment, published: set[str], found: Deployments) -> Deployment:
            after = rolling_back(self._model, before, published, found)
            if expected is not None and after.active != expected:
                raise RegistryError(
                    f"{before.active} was activated meanwhile, before it was {after.active}; "
                    "look before going on"
                )
            return after

        active = self._change(decide, "roll back")[1].active
        assert active is not None  # noqa: S101 - a rollback leads to a version
        return active

    def retire(self, version: str) -> int:
        """Remove a version: its record first, then its keys; returns the number of keys.

        Raises:
            RegistryError: it isn't published, or it answers.
        """
        if self._is_dry:
            retiring(version, self.deployments(), {record.version for record in self.records()})
            return 0

        def switch(pipe: Any) -> None:
            found = self._store.read(pipe)
            after = retiring(version, found, set(self._readable(pipe.hgetall(keys.MODELS))))
            pipe.multi()
            for model, record in found:
                if model == DEFAULT or after[model] != record:
                    self._store.write(pipe, model, found, after[model], f"retire {version}")
            pipe.hdel(keys.MODELS, version)

        self._store.transact(switch)
        return self.delete_features(version)

    def _change(
        self,
        decide: Decide,
        what: str,
        further: Callable[[Any], object] | None = None,
    ) -> tuple[Deployment, Deployment]:
        """Compare and set; returns the record before and after.

        Args:
            decide: called again if another process changed meanwhile what it is given.
            what: name of the change, for the audit.
            further: commands of the same transaction.
        """

        def look(client: Any) -> tuple[Deployments, Deployment, Deployment]:
            found = self._store.read(client)
            before = found.of(self._model)
            if self._seen is not None:
                check_seen(self._seen, before)
            after = decide(before, set(self._readable(client.hgetall(keys.MODELS))), found)
            return found, before, after

        if self._is_dry:
            with store_errors():
                return look(self._client)[1:]

        def switch(pipe: Any) -> tuple[Deployment, Deployment]:
            found, before, after = look(pipe)
            if self._lease is not None:
                check_lease(pipe.get(keys.PREPARING), self._lease)
            pipe.multi()
            if after != before or further:
                after = self._store.write(pipe, self._model, found, after, what)
                if further:
                    further(pipe)
            return before, after

        return self._store.transact(switch, *([keys.PREPARING] if self._lease else ()))

    def delete_features(self, version: str) -> int:
        """Delete all keys of a version, in batches; returns their number."""
        deleted, batch = 0, []
        with store_errors():
            for key in self._client.scan_iter(keys.version_pattern(version), count=_DELETE_BATCH):
                batch.append(key)
                if len(batch) == _DELETE_BATCH:
                    deleted += self._client.unlink(*batch)
                    batch = []
            if batch:
                deleted += self._client.unlink(*batch)
        return deleted
