"""The models of this process, loaded beside each other and routed as the record says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable

from app.deployment.bundle_folders import BundleFolders
from app.deployment.fresh_items import with_fresh_items, with_stored_items
from app.deployment.item_changes import apply_stored, follow_changes
from app.deployment.last_active import LastActive
from app.deployment.loading import load_version
from app.deployment.model_metrics import ModelMetrics
from app.deployment.rejections import Rejections
from app.deployment.routing import Routing, route
from app.deployment.routings import Routings
from app.deployment.rules_in_force import RulesInForce, warnings_by_version
from app.model.allocator import large_blocks_mapped
from app.model.background import BackgroundThread, freeze_garbage, gc_paused
from app.model.inference import Provider
from app.model.model import Model
from app.store.versions import Followed, FreshIds, VersionStore
from app.telemetry.metrics import Metrics
from model_store.deployment import Deployment
from model_store.deployments import DEFAULT, Deployments
from model_store.errors import BundleError, LongtailError, StoreError
from model_store.preparation import Preparing
from model_store.registry import Registry
from model_store.remote_bundles import Bundles, local_folder
from model_store.signatures import Trust
from model_store.texts import first_line

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 0.5
LOADING_SHARE = 0.1  # of its thread's time: all workers of a machine load at once


class Models:
    """Loads models and routes to them; the only place where either happens.

    A version is loaded once, under however many names it answers. Readers take a routing once,
    without a lock. Changes are made one after another.

    Attributes:
        routings: who answers whom, by name.
        deployments: the records as they were read last.
        loading: the version that is being loaded.
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
        self.loading: str | None = None
        self._loaded: dict[str, Model] = {}
        self._shown = ModelMetrics(metrics)
        self._failures: dict[str, str] = {}
        self._rejections = Rejections(metrics.version_rejected)
        self._folders = BundleFolders(registry, bundles_dir, lambda: len(self.routings) > 0)
        self._last_active = LastActive(local_folder(bundles_dir))
        self._rules = RulesInForce(self._last_active)
        self._provider = provider
        self._trust = trust
        self._versions = versions
        self._metrics = metrics
        self._changing = asyncio.Lock()
        # Before the first model is loaded, no request needs the CPU.
        self._first_loads = BackgroundThread("first load", yields=False)
        self._loads = BackgroundThread("load", yields=True, share=LOADING_SHARE)

    def close(self) -> None:
        """Stop loading, and let go of all models and their files.

        Work that can't stop at once ends with the process.
        """
        self._first_loads.stop(STOP_TIMEOUT_S)
        self._loads.stop(STOP_TIMEOUT_S)
        self._folders.stop()
        # FastAPI remembers the endpoints of every application for good, and they this object.
        self.routings.clear()
        self._loaded.clear()

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
        return self._loaded.get(version)

    def about_to_answer(self, model: str) -> Routing | None:
        """Who answers under a name after the next swap, if its version is loaded.

        A swap waits for other changes, such as fresh items of a large table; a request need not.
        """
        record = self.deployments.of(model)
        active = self._loaded.get(record.active or "")
        return None if active is None else route(model, record, active, self._loaded)

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
        return tuple(self._loaded)

    @property
    def rejected(self) -> dict[str, str]:
        """Versions that should answer and can't be loaded, with the reason."""
        return self._rejections.reasons

    @property
    def failures(self) -> dict[str, str]:
        """Why this process can't load what a rollout wants, by the rollout's token."""
        return self._failures

    @property
    def rule_warnings(self) -> dict[str, tuple[str, ...]]:
        """Rules that do nothing for a loaded version, or not all they say, by version."""
        return warnings_by_version(self._loaded)

    # --- calls of the watcher -------------------------------------------------------

    async def load_next(self, followed: Followed) -> bool:
        """Load a version that the record or a rollout wants, beside those that answer.

        A version that fails to load is logged once and kept in `rejected`, or in `failures`.

        Returns:
            Whether one was loaded: the record may have changed meanwhile, and has to be read again.
        """
        wanted = followed.preparing
        self._folders.spared = followed.versions | self._unrecorded(followed.deployments)
        for version in followed.deployments.versions:
            if version in self._loaded or not await self._rejections.permit(version):
                continue
            if await self._folders.is_here(version):
                return await self._try(version)
        if wanted is None:
            self._failures = {}
            return False
        for version in wanted.versions:
            if version in self._loaded or wanted.token in self.failures:
                continue
            if await self._folders.is_here(version):
                return await self._prepare(version, wanted)
        return False

    async def route(self, followed: Followed) -> bool:
        """Answer as the records say, as far as their versions are loaded, and drop other models.

        Returns:
            Whether that changed who answers.
        """
        deployments = self.deployments = followed.deployments
        self.is_record_read = True
        if not self._last_active.is_read:
            await asyncio.to_thread(self._last_active.read)
        await self._follow_rules(deployments)
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
                self._drop(kept)
            self._rejections.keep_only({*deployments.versions, *self._unrecorded(deployments)})
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
        for version in dict.fromkeys(versions):
            if version == record.active or not await self._rejections.permit(version):
                continue
            if version in self._loaded or await self._try(version):
                log.warning("going on with version %s, which answered before", version)
                async with self._changing:
                    await self._swap(Routing(self._loaded[version], name=model))
                return

    async def add_fresh_items(self, model: Model, fresh: FreshIds) -> None:
        """Replace a model by one with fresh items, unless it has been replaced meanwhile.

        Raises:
            StoreError: the store can't be read.
        """
        # Read before taking the lock: a slow store delays no other change.
        found = await self._versions.fresh_items(model.version, fresh.ids)
        async with self._changing:
            if self._loaded.get(model.version) is not model:
                return
            with gc_paused(), large_blocks_mapped():
                grown = await with_fresh_items(model, found, fresh.n_read, self._loads)
            # They may have been withdrawn, or changed, while other versions alone had them.
            await apply_stored(grown, fresh.ids, self._versions)
            grown = await self._ruled(grown)
            self._loaded[model.version] = grown
            for _, routing in self.routings:
                await self._swap(routing.with_model(grown))
            log.info("version %s has %d fresh items now", grown.version, grown.n_fresh)

    async def follow_item_changes(self) -> None:
        """Apply the changes of items that came since the last round to all models, and to rules.

        Raises:
            StoreError: the store can't be read.
        """
        for model in tuple(self._loaded.values()):
            await follow_changes(model, self._versions)
            if model.rules is not None and model.rules.is_outdated:
                await self._loads.run(model.rules.compile_again)
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
        active = self._loaded.get(deployment.active or "") or self._newest_state(model)
        if active is None:
            return False
        async with self._changing:
            changed = await self._swap(route(model, deployment, active, self._loaded))
        if not self.missing(model, deployment):
            self.routings.generations[model] = deployment.generation
        return changed

    def _newest_state(self, model: str) -> Model | None:
        """The version that answers under a name, as it is loaded now."""
        routing = self.routings.find(model)
        if routing is None:
            return None
        return self._loaded.get(routing.active.version, routing.active)

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

    async def _follow_rules(self, deployments: Deployments) -> None:
        """Compile the record's rules for all loaded versions that have others."""
        is_new = self._rules.follow(None if deployments.are_lost else deployments.default.rules)
        for version, model in list(self._loaded.items()):
            if not self._rules.are_of(model):
                async with self._changing:
                    if self._loaded.get(version) is model:
                        self._loaded[version] = await self._ruled(model)
        if is_new:
            await self._rules.remember()

    async def _ruled(self, model: Model) -> Model:
        """The model with the rules in force."""
        thread = self._loads if len(self.routings) else self._first_loads
        return await self._rules.applied_to(model, thread)

    async def _try(self, version: str) -> bool:
        """Load a version of the record; False, and it is rejected, where that fails."""
        try:
            await self._load(version)
        except BundleError as error:
            folder = await self._folders.find(version)
            if self._rejections.add(version, error, folder):
                log.error("version %s can't be loaded: %s", version, error)
            return False
        self._rejections.forget(version)
        return True

    async def _prepare(self, version: str, wanted: Preparing) -> bool:
        try:
            await self._load(version)
        except Exception as error:
            # Whoever waits for this worker is told why it can't, whatever the reason is.
            is_known = isinstance(error, LongtailError)
            log.error("version %s can't be loaded: %s", version, error, exc_info=not is_known)
            reason = str(error) if is_known else f"{type(error).__name__}: {first_line(error)}"
            self._failures = {wanted.token: reason}
            return False
        return True

    async def _load(self, version: str) -> None:
        async def load() -> None:
            async with self._changing:
                with gc_paused(), large_blocks_mapped():
                    self._loaded[version] = await self._ruled(await self._open(version))

        self.loading = version
        try:
            await self._folders.load(version, load)
        finally:
            self.loading = None

    async def _open(self, version: str) -> Model:
        folder = await self._folders.find(version)
        thread = self._loads if len(self.routings) else self._first_loads
        model = await thread.run(lambda: load_version(folder, version, self._provider, self._trust))
        try:
            return await with_stored_items(model, self._versions, thread)
        except StoreError:
            return model  # the watcher adds them when the store is back

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

    def _drop(self, kept: Collection[str]) -> None:
        """Let go of all other models; their memory is free when their last request is answered."""
        for version in self._loaded.keys() - kept:
            del self._loaded[version]
            log.info("version %s is let go", version)
