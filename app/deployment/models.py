"""The models of this process, loaded beside each other and routed as the record says."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from app.deployment.arms import route_experiment
from app.deployment.fresh_items import with_fresh_items, with_stored_items
from app.deployment.item_changes import apply_stored, follow_changes
from app.deployment.last_active import LastActive
from app.deployment.loading import load_version
from app.deployment.rejections import Rejections
from app.deployment.routing import Routing, ShadowModel, Trial
from app.model.allocator import large_blocks_mapped
from app.model.background import BackgroundThread, gc_paused
from app.model.inference import Provider
from app.model.model import Model
from app.model.rule_book import compile_set
from app.store.versions import Followed, VersionStore
from app.telemetry.metrics import Metrics
from model_store.deployment import Deployment
from model_store.errors import BundleError, LongtailError, RegistryError, StoreError
from model_store.preparation import Preparing
from model_store.registry import Registry
from model_store.rules import RuleSet

log = logging.getLogger(__name__)

GC_THRESHOLDS = (50_000, 20, 100)
# Objects that are walked in two milliseconds. Beside a larger catalogue, what is left is nothing.
MAX_WALKED = 50_000
STOP_TIMEOUT_S = 0.5
MAX_WARNINGS = 20
OF_NO_RECORD = -1
"""Revision of rules before the record has been read."""


@dataclass(frozen=True)
class _Failure:
    """Why a version that a rollout wants can't be loaded here."""

    token: str
    reason: str


class Models:
    """Loads models and routes to them; the only place where either happens.

    Readers take `routing` once, without a lock. Changes are made one after another.
    """

    def __init__(
        self,
        registry: Registry,
        versions: VersionStore,
        metrics: Metrics,
        *,
        bundles_dir: Path,
        provider: Provider,
    ) -> None:
        self.routing: Routing | None = None
        self.loading: str | None = None
        self.generation = 0
        """Of the deployment record that `routing` follows."""
        self._loaded: dict[str, Model] = {}
        self._rules = RuleSet(revision=OF_NO_RECORD)
        self._failure: _Failure | None = None
        self._rejections = Rejections(metrics.version_rejected)
        self._bundles_dir = bundles_dir
        self._last_active = LastActive(bundles_dir)
        self._provider = provider
        self._registry = registry
        self._versions = versions
        self._metrics = metrics
        self._changing = asyncio.Lock()
        # Before the first model is loaded, no request needs the CPU.
        self._first_loads = BackgroundThread("first load", yields=False)
        self._loads = BackgroundThread("load", yields=True)

    def close(self) -> None:
        """Stop loading, and let go of all models and their files.

        Work that can't stop at once ends with the process.
        """
        self._first_loads.stop(STOP_TIMEOUT_S)
        self._loads.stop(STOP_TIMEOUT_S)
        # FastAPI remembers the endpoints of every application for good, and they this object.
        self.routing = None
        self._loaded.clear()

    # --- state -----------------------------------------------------------

    @property
    def current(self) -> Model | None:
        """The active version's model; None before the first load."""
        return None if self.routing is None else self.routing.active

    @property
    def canary(self) -> Model | None:
        """The model that answers a share of the users."""
        trial = None if self.routing is None else self.routing.trial
        return None if trial is None else trial.model

    def find(self, version: str) -> Model | None:
        """The model of a version, if it is loaded."""
        return self._loaded.get(version)

    @property
    def second(self) -> Model | None:
        """The canary, else the first other version that answers an arm of an experiment."""
        others = self.routing.models[1:] if self.routing else ()
        return others[0] if others else None

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
        return {self._failure.token: self._failure.reason} if self._failure else {}

    @property
    def rule_warnings(self) -> dict[str, tuple[str, ...]]:
        """Rules that do nothing for a loaded version, or not all they say, by version."""
        return {
            version: tuple(model.rules.warnings[:MAX_WARNINGS])
            for version, model in self._loaded.items()
            if model.rules is not None and model.rules.warnings
        }

    # --- calls of the watcher -------------------------------------------------------

    async def load_next(self, followed: Followed) -> bool:
        """Load a version that the record or a rollout wants, beside those that answer.

        A version that fails to load is logged once and kept in `rejected`, or in `failures`.

        Returns:
            Whether one was loaded: the record may have changed meanwhile, and has to be read again.
        """
        for version in followed.deployment.versions:
            if version not in self._loaded and await self._rejections.permit(version):
                return await self._try(version)
        wanted = followed.preparing
        if wanted is None:
            self._failure = None
            return False
        for version in wanted.versions:
            if version not in self._loaded and wanted.token not in self.failures:
                return await self._prepare(version, wanted)
        return False

    async def route(self, followed: Followed) -> bool:
        """Answer as the record says, as far as its versions are loaded, and drop other models.

        Returns:
            Whether that changed who answers.
        """
        deployment, preparing = followed.deployment, followed.preparing
        await self._follow_rules(deployment.rules)
        active = self._loaded.get(deployment.active or "") or self._loaded_current
        if active is None:
            return False
        async with self._changing:
            trial, canary = None, deployment.canary
            if canary is not None and canary.version in self._loaded:
                model = self._loaded[canary.version]
                trial = Trial(model, canary.percent, canary.salt, canary.epoch)
            shadow, unseen = None, deployment.shadow
            if unseen is not None and unseen.version in self._loaded:
                shadow = ShadowModel(self._loaded[unseen.version], unseen.share)
            experiment = route_experiment(deployment.experiment, self._loaded)
            changed = await self._swap(Routing(active, trial, shadow, experiment))
            kept = {active.version, *deployment.versions}
            self._drop(kept.union(preparing.versions) if preparing else kept)
        if not self.missing(deployment):
            self.generation = deployment.generation
        self._rejections.keep_only(set(deployment.versions))
        return changed

    def missing(self, deployment: Deployment) -> set[str]:
        """Versions of the record that are not in use here."""
        routing = self.routing
        used = {model.version for model in routing.all_models} if routing else set()
        return set(deployment.versions) - used

    async def recall_rules(self) -> None:
        """While the record can't be read, go on with the rules that were in force here last."""
        rules = await asyncio.to_thread(self._last_active.read_rules)
        if rules is not None and rules.rules:
            log.warning("going on with %s, as of %s", rules.describe(), rules.since)
            # Whatever the record says is followed when it can be read.
            self._rules = rules.model_copy(update={"revision": OF_NO_RECORD})

    async def fall_back(self, deployment: Deployment) -> None:
        """While no model is loaded at all, serve the version that answered last here.

        The operator's choice stays in the record.

        Args:
            deployment: the record; an empty one if the store can't be read.
        """
        last = await asyncio.to_thread(self._last_active.read)
        for version in dict.fromkeys(filter(None, (last, *deployment.previous))):
            if version == deployment.active or not await self._rejections.permit(version):
                continue
            if await self._try(version):
                log.warning("going on with version %s, which answered before", version)
                async with self._changing:
                    await self._swap(Routing(self._loaded[version]))
                return

    async def add_fresh_items(self, model: Model, new_ids: list[bytes]) -> None:
        """Replace a model by one with fresh items, unless it has been replaced meanwhile.

        Raises:
            StoreError: the store can't be read.
        """
        # Read before taking the lock: a slow store delays no other change.
        found = await self._versions.fresh_items(model.version, new_ids)
        async with self._changing:
            if self._loaded.get(model.version) is not model or self.routing is None:
                return
            with gc_paused(), large_blocks_mapped():
                grown = await with_fresh_items(model, found, self._loads)
            # They may have been withdrawn, or changed, while other versions alone had them.
            await apply_stored(grown, new_ids, self._versions)
            grown = await self._ruled(grown)
            self._loaded[model.version] = grown
            await self._swap(self.routing.with_model(grown))
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

    @property
    def _loaded_current(self) -> Model | None:
        """The newest state of the version that answers."""
        current = self.current
        return None if current is None else self._loaded.get(current.version, current)

    async def _follow_rules(self, rules: RuleSet) -> None:
        """Compile the record's rules for all loaded versions that have others."""
        is_new = rules.revision != self._rules.revision
        self._rules = rules
        revision = rules.revision if rules.rules else None
        for version, model in list(self._loaded.items()):
            if revision != (None if model.rules is None else model.rules.revision):
                async with self._changing:
                    if self._loaded.get(version) is model:
                        self._loaded[version] = await self._ruled(model)
        if is_new:
            await asyncio.to_thread(self._last_active.write_rules, rules)

    async def _ruled(self, model: Model) -> Model:
        """The model with the rules in force."""
        rules = self._rules
        if not rules.rules:
            return model if model.rules is None else model.with_rules(None)
        thread = self._loads if self.routing else self._first_loads
        return model.with_rules(await thread.run(lambda: compile_set(rules, model)))

    async def _try(self, version: str) -> bool:
        """Load a version of the record; False, and it is rejected, where that fails."""
        try:
            await self._load(version)
        except BundleError as error:
            folder = await asyncio.to_thread(self._folder_of, version)
            if self._rejections.add(version, error, folder):
                log.error("version %s can't be loaded: %s", version, error)
            return False
        self._rejections.forget(version)
        return True

    async def _prepare(self, version: str, wanted: Preparing) -> bool:
        try:
            await self._load(version)
        except LongtailError as error:
            log.error("version %s can't be loaded: %s", version, error)
            self._failure = _Failure(wanted.token, str(error))
            return False
        return True

    async def _load(self, version: str) -> None:
        self.loading = version
        try:
            async with self._changing:
                with gc_paused(), large_blocks_mapped():
                    self._loaded[version] = await self._ruled(await self._open(version))
        finally:
            self.loading = None

    async def _open(self, version: str) -> Model:
        folder = await asyncio.to_thread(self._folder_of, version)
        thread = self._loads if self.routing else self._first_loads
        model = await thread.run(lambda: load_version(folder, version, self._provider))
        try:
            return await with_stored_items(model, self._versions, thread)
        except StoreError:
            return model  # the watcher adds them when the store is back

    async def _swap(self, routing: Routing) -> bool:
        """Route as given from now on; False if that changes nothing. The caller holds the lock."""
        previous, model = self.routing, routing.active
        if routing.is_as(previous):
            return False
        is_new = previous is None or previous.active.version != model.version
        if is_new:
            # Before it answers: a version that has answered will answer again after a restart.
            await asyncio.to_thread(self._last_active.write, model.version)
        self.routing = routing
        # What a load leaves behind in cycles would stay for good once it is frozen: 45 kB a swap.
        if gc.get_count()[0] <= MAX_WALKED:
            gc.collect(0)
        # The loaded model lives long: the garbage collector need not walk it during requests.
        gc.freeze()
        # Nor look for cycles after every 700 objects: a request creates some and leaves none.
        gc.set_threshold(*GC_THRESHOLDS)
        self._note(previous, routing)
        if is_new:
            self._metrics.swaps.inc()
            log.info("version %s answers from now on", model.version)
        return True

    def _note(self, previous: Routing | None, routing: Routing) -> None:
        """Show in the metrics which versions answer."""
        answering = {model.version for model in routing.models}
        before = {model.version for model in previous.models} if previous else set()
        for version in before | answering:
            self._metrics.model.labels(version).set(version in answering)
        self._metrics.answering(routing.answering)
        model = routing.active
        self._metrics.model_created.set(model.created_s)
        self._metrics.items.labels("all").set(len(model.ids))
        self._metrics.items.labels("fresh").set(model.n_fresh)

    def _drop(self, kept: Collection[str]) -> None:
        """Let go of all other models; their memory is free when their last request is answered."""
        for version in self._loaded.keys() - kept:
            del self._loaded[version]
            log.info("version %s is let go", version)

    def _folder_of(self, version: str) -> Path:
        folder = self._bundles_dir / version
        if folder.is_dir():
            return folder
        try:
            return Path(self._registry.get(version).bundle)
        except (RegistryError, StoreError):
            return folder
