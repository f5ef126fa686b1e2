"""Who answers requests at this process: the records, followed as far as versions are loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from app.deployment.bundle_folders import BundleFolders
from app.deployment.last_active import LastActive
from app.deployment.loaded_versions import LoadedVersions
from app.deployment.model_metrics import ModelMetrics
from app.deployment.routing import Routing, route
from app.deployment.routings import Routings
from app.deployment.rules_in_force import RulesInForce
from app.model.background import freeze_garbage
from app.model.inference import Provider
from app.model.model import Model
from app.store.versions import Followed, FreshIds, VersionStore
from app.telemetry.metrics import Metrics
from model_store.deployment import Deployment
from model_store.deployments import DEFAULT, Deployments
from model_store.registry import Registry
from model_store.remote_bundles import Bundles, local_folder
from model_store.signatures import Trust

log = logging.getLogger(__name__)


class Models:
    """Routes to models; the only place where that happens.

    Readers take a routing once, without a lock. Changes are made one after another.

    Attributes:
        routings: who answers whom, by name.
        deployments: the records as they were read last.
        versions: those in memory.
    """

    def __init__(
        self,
        registry: Registry,
        versions: VersionStore,
        metrics: Metrics,
        *,
        bundles_dir: Bundles,
        provider: Provider,
        trust: Trust,
    ) -> None:
        self.routings = Routings()
        self.deployments = Deployments()
        self.is_record_read = False
        self._shown = ModelMetrics(metrics)
        self._last_active = LastActive(local_folder(bundles_dir))
        self._metrics = metrics

        def serves() -> bool:
            return len(self.routings) > 0

        self._folders = BundleFolders(registry, bundles_dir, serves)
        self._rules = RulesInForce(self._last_active)
        self.versions = LoadedVersions(
            self._folders,
            versions,
            self._rules,
            metrics.version_rejected,
            provider=provider,
            trust=trust,
            serves=serves,
        )
        self._changing = self.versions.changing

    def close(self) -> None:
        """Stop loading, and let go of all models and their files.

        Work that can't stop at once ends with the process.
        """
        self.versions.close()
        # FastAPI remembers the endpoints of every application for good, and they this object.
        self.routings.clear()

    # --- state -----------------------------------------------------------

    @property
    def routing(self) -> Routing | None:
        """Who answers the requests that name no model; None before the first load."""
        return self.routings.find(DEFAULT)

    @property
    def current(self) -> Model | None:
        """The default's active version; None before the first load."""
        return None if self.routing is None else self.routing.active

    def find(self, version: str) -> Model | None:
        """The model of a version, if it is loaded."""
        return self.versions.models.get(version)

    def about_to_answer(self, model: str) -> Routing | None:
        """Who answers under a name after the next swap, if its version is loaded.

        A swap waits for other changes, such as fresh items of a large table; a request need not. If
        the process is killed meanwhile, and the store lost, the name doesn't come back by itself.
        """
        record = self.deployments.of(model)
        active = self.versions.models.get(record.active or "")
        return None if active is None else route(model, record, active, self.versions.models)

    @property
    def second(self) -> Model | None:
        """The first version with a reranker that answers beside the default's active one.

        That is its canary, else one of an arm of its experiment, else one of another name.
        """
        current = self.current
        others = (one for one in self.routings.models if one is not current and one.reranker)
        return next(others, None)

    @property
    def loaded(self) -> tuple[str, ...]:
        """Versions that are ready to answer."""
        return tuple(self.versions.models)

    # --- calls of the watcher -------------------------------------------------------

    async def load_next(self, followed: Followed) -> bool:
        """Load a version that the record or a rollout wants, beside those that answer.

        Returns:
            Whether one was loaded: the record may have changed meanwhile, and has to be read again.
        """
        self._folders.spared = followed.versions | self._unrecorded(followed.deployments)
        return await self.versions.load_next(followed)

    async def route(self, followed: Followed) -> bool:
        """Answer as the records say, as far as their versions are loaded, and drop other models.

        Returns:
            Whether that changed who answers.
        """
        deployments = self.deployments = followed.deployments
        self.is_record_read = True
        if not self._last_active.is_read:
            await asyncio.to_thread(self._last_active.read)
        await self.versions.follow_rules(
            None if deployments.are_lost else deployments.default.rules
        )
        records = dict(deployments)
        if deployments.are_lost:
            records |= self._lost_records()
        self.routings.keep_generations(records)
        changed = [await self._route(model, record) for model, record in records.items()]
        gone = (self.routings.versions.keys() | self._last_active.waiting.keys()) - records.keys()
        if not deployments.are_lost:
            changed += [await self._end(model) for model in gone]
        if all(self.routings.find(model) for model in deployments.names):
            async with self._changing:
                kept = {one.version for one in self.routings.all_models}
                kept.update(followed.versions)
                wanted = {*deployments.versions, *self._unrecorded(deployments)}
                self.versions.keep_only(kept, wanted)
        return any(changed)

    def is_lacking(self, deployments: Deployments | None) -> bool:
        """Whether nothing answers under some name of the records; without any, of the last ones.

        Args:
            deployments: the records; None if the store can't be read.
        """
        names = (DEFAULT, *self._last_active.waiting)
        if deployments is not None and not deployments.are_lost:
            names = deployments.names
        return any(self.routings.find(model) is None for model in names)

    def missing(self, model: str, deployment: Deployment) -> set[str]:
        """Versions of a name's record that are not in use here."""
        routing = self.routings.find(model)
        used = {one.version for one in routing.all_models} if routing else set()
        return set(deployment.versions) - used

    async def fall_back(self, deployments: Deployments | None) -> None:
        """Under each name without a loaded version, serve the one that answered last here.

        The operator's choice stays in the record; without records the rules are the last ones, too.

        Args:
            deployments: the records; None if the store can't be read.
        """
        last = await asyncio.to_thread(self._last_active.read)
        if are_unknown := deployments is None or deployments.are_lost:
            self._folders.spared = self._unrecorded(deployments)
            await self._rules.recall()
        for model in (DEFAULT, *(last if are_unknown or not deployments else deployments.names)):
            if self.routings.find(model) is None:
                record = (deployments or Deployments()).of(model)
                await self._go_on(model, filter(None, (last.get(model), *record.previous)), record)

    def _lost_records(self) -> dict[str, Deployment]:
        """Empty records of all names that answer here: of each, its active version goes on."""
        for model, routing in self.routings:
            if tried := " and ".join(routing.tried):
                log.warning("the deployment record of %s was lost; ended: %s", model, tried)
        return dict.fromkeys(self.routings.versions, Deployment())

    def _unrecorded(self, deployments: Deployments | None) -> set[str]:
        """Versions that are needed though no record names them: nobody knows the records."""
        if deployments is not None and not deployments.are_lost:
            return set()
        answering = {one.version for one in self.routings.all_models}
        return answering.union(self._last_active.waiting.values())

    async def _go_on(self, model: str, versions: Iterable[str], record: Deployment) -> None:
        """Under a name, serve the first of some versions that can be loaded."""
        others = dict.fromkeys(version for version in versions if version != record.active)
        if (version := await self.versions.recall(others)) is not None:
            log.warning("going on with version %s, which answered before", version)
            async with self._changing:
                await self._swap(Routing(self.versions.models[version], name=model))

    async def add_fresh_items(self, model: Model, fresh: FreshIds) -> None:
        """Replace a model by one with fresh items, unless it has been replaced meanwhile.

        Raises:
            StoreError: the store can't be read.
        """

        async def swap(grown: Model) -> None:
            for _, routing in self.routings:
                await self._swap(routing.with_model(grown))

        await self.versions.add_fresh_items(model, fresh, swap)

    async def follow_item_changes(self) -> None:
        """Apply the changes of items that came since the last round to all models, and to rules.

        Raises:
            StoreError: the store can't be read.
        """
        await self.versions.follow_item_changes()
        if self.current is not None:
            n_withdrawn = len(self.current.availability.withdrawn)
            self._metrics.items.labels("withdrawn").set(n_withdrawn)

    # --- implementation ----------------------------------------------------------

    async def _route(self, model: str, deployment: Deployment) -> bool:
        """Answer requests of a name as its record says; whether that changed who answers."""
        if model != DEFAULT and deployment.is_deactivated:
            changed = await self._end(model)
            self.routings.generations[model] = deployment.generation
            return changed
        active = self.versions.models.get(deployment.active or "") or self._newest_state(model)
        if active is None:
            return False
        async with self._changing:
            changed = await self._swap(route(model, deployment, active, self.versions.models))
        if not self.missing(model, deployment):
            self.routings.generations[model] = deployment.generation
        return changed

    def _newest_state(self, model: str) -> Model | None:
        """The version that answers under a name, as it is loaded now."""
        routing = self.routings.find(model)
        if routing is None:
            return None
        return self.versions.models.get(routing.active.version, routing.active)

    async def _end(self, model: str) -> bool:
        """Answer requests of a name no more; False if none were answered."""
        answered = self.routings.find(model) is not None
        if self._last_active.waiting.pop(model, None) is None and not answered:
            return False
        async with self._changing:
            self.routings.remove(model)
            await asyncio.to_thread(self._last_active.write, self.routings.versions)
            self._shown.note(self.routings)
        log.info("the name %s is deactivated", model)
        return answered

    async def _swap(self, routing: Routing) -> bool:
        """Route requests of its name as given, under the lock; False if that changes nothing."""
        name, model = routing.name, routing.active
        previous = self.routings.find(name)
        if routing.is_as(previous):
            return False
        is_new = previous is None or previous.active.version != model.version
        if is_new:
            # Before it answers: a version that has answered will answer again after a restart.
            versions = {**self.routings.versions, name: model.version}
            await asyncio.to_thread(self._last_active.write, versions)
        self.routings.use(routing)
        freeze_garbage()
        self._shown.note(self.routings)
        if is_new:
            self._metrics.swaps.inc()
            under = "" if name == DEFAULT else f" under the name {name}"
            log.info("version %s answers from now on%s", model.version, under)
        return True
