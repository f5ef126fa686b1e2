"""The versions in the memory of this process: how they come there, and what is kept up in them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

from app.deployment.bundle_folders import BundleFolders
from app.deployment.fresh_items import with_fresh_items, with_stored_items
from app.deployment.item_changes import apply_stored, follow_changes
from app.deployment.loading import load_version
from app.deployment.rejections import Rejections
from app.deployment.rules_in_force import RulesInForce, warnings_by_version
from app.model.allocator import large_blocks_mapped
from app.model.background import BackgroundThread, gc_paused
from app.model.inference import Provider
from app.model.model import Model
from app.store.versions import Followed, FreshIds, VersionStore
from model_store.errors import BundleError, LongtailError, StoreError
from model_store.preparation import Preparing
from model_store.rules import RuleSet
from model_store.signatures import Trust
from model_store.texts import first_line

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 0.5
LOADING_SHARE = 0.1  # of its thread's time: all workers of a machine load at once


class LoadedVersions:
    """Loads versions beside those that answer; each once, under however many names it answers.

    Args:
        folders: where their bundles are.
        store: of fresh items, and of changes of items.
        rules: that all of them have.
        on_rejected: called with a version and whether it is rejected from now on.
        provider: where sequence graphs run.
        trust: whose bundles are loaded.
        serves: whether requests are answered, so that loading must not take their CPU.

    Attributes:
        models: those that are ready to answer, by version.
        changing: held by whoever changes what is loaded, or who answers with it.
        loading: the version that is being loaded.
        failures: why this process can't load what a rollout wants, by the rollout's token.
    """

    def __init__(
        self,
        folders: BundleFolders,
        store: VersionStore,
        rules: RulesInForce,
        on_rejected: Callable[[str, bool], None],
        *,
        provider: Provider,
        trust: Trust,
        serves: Callable[[], bool],
    ) -> None:
        self.changing = asyncio.Lock()
        self.loading: str | None = None
        self.failures: dict[str, str] = {}
        self.models: dict[str, Model] = {}
        self._folders = folders
        self._store = store
        self._rules = rules
        self._rejections = Rejections(on_rejected)
        self._provider = provider
        self._trust = trust
        self._serves = serves
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
        self.models.clear()

    @property
    def rejected(self) -> dict[str, str]:
        """Versions that should answer and can't be loaded, with the reason."""
        return self._rejections.reasons

    @property
    def rule_warnings(self) -> dict[str, tuple[str, ...]]:
        """Rules that do nothing for a loaded version, or not all they say, by version."""
        return warnings_by_version(self.models)

    async def load_next(self, followed: Followed) -> bool:
        """Load a version that the record or a rollout wants.

        A version that fails to load is logged once and kept in `rejected`, or in `failures`.

        Returns:
            Whether one was loaded.
        """
        wanted = followed.preparing
        for version in followed.deployments.versions:
            if version in self.models or not await self._rejections.permit(version):
                continue
            if await self._folders.is_here(version):
                return await self._try(version)
        if wanted is None:
            self.failures = {}
            return False
        for version in wanted.versions:
            if version in self.models or wanted.token in self.failures:
                continue
            if await self._folders.is_here(version):
                return await self._prepare(version, wanted)
        return False

    async def recall(self, versions: Iterable[str]) -> str | None:
        """Load the first of some versions that can be loaded.

        Returns:
            Which one; None where there is none, or where one is being downloaded first.
        """
        for version in versions:
            if not await self._rejections.permit(version):
                continue
            if version in self.models:
                return version
            if not await self._folders.is_here(version):
                return None
            if await self._try(version):
                return version
        return None

    async def follow_rules(self, rules: RuleSet | None) -> None:
        """Compile the record's rules for all versions that have others; None: the last ones."""
        is_new = self._rules.follow(rules)
        for version, model in list(self.models.items()):
            if not self._rules.are_of(model):
                async with self.changing:
                    if self.models.get(version) is model:
                        self.models[version] = await self._ruled(model)
        if is_new:
            await self._rules.remember()

    async def add_fresh_items(
        self, model: Model, fresh: FreshIds, swap: Callable[[Model], Awaitable[None]]
    ) -> None:
        """Replace a model by one with fresh items, unless it has been replaced meanwhile.

        Args:
            model: one of these.
            fresh: the items.
            swap: called with the new one, before anything else changes.

        Raises:
            StoreError: the store can't be read.
        """
        # Read before taking the lock: a slow store delays no other change.
        found = await self._store.fresh_items(model.version, fresh.ids)
        async with self.changing:
            if self.models.get(model.version) is not model:
                return
            with gc_paused(), large_blocks_mapped():
                grown = await with_fresh_items(model, found, fresh.n_read, self._loads)
            # They may have been withdrawn, or changed, while other versions alone had them.
            await apply_stored(grown, fresh.ids, self._store)
            grown = self.models[model.version] = await self._ruled(grown)
            await swap(grown)
            log.info("version %s has %d fresh items now", grown.version, grown.n_fresh)

    async def follow_item_changes(self) -> None:
        """Apply the changes of items that came since the last round to all models, and to rules.

        Raises:
            StoreError: the store can't be read.
        """
        for model in tuple(self.models.values()):
            await follow_changes(model, self._store)
            if model.rules is not None and model.rules.is_outdated:
                await self._loads.run(model.rules.compile_again)

    def keep_only(self, kept: Collection[str], wanted: Collection[str]) -> None:
        """Let go of all other models; their memory is free when their last request is answered.

        Args:
            kept: versions that stay, under the lock.
            wanted: those whose rejection, if there is one, is remembered.
        """
        for version in self.models.keys() - kept:
            del self.models[version]
            log.info("version %s is let go", version)
        self._rejections.keep_only(set(wanted))

    async def _ruled(self, model: Model) -> Model:
        """The model with the rules in force."""
        return await self._rules.applied_to(model, self._thread)

    @property
    def _thread(self) -> BackgroundThread:
        return self._loads if self._serves() else self._first_loads

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
            self.failures = {wanted.token: reason}
            return False
        return True

    async def _load(self, version: str) -> None:
        async def load() -> None:
            async with self.changing:
                with gc_paused(), large_blocks_mapped():
                    self.models[version] = await self._ruled(await self._open(version))

        self.loading = version
        try:
            await self._folders.load(version, load)
        finally:
            self.loading = None

    async def _open(self, version: str) -> Model:
        folder, thread = await self._folders.find(version), self._thread
        model = await thread.run(
            lambda: load_version(folder, version, self._provider, self._trust), is_spread=True
        )
        try:
            return await with_stored_items(model, self._store, thread)
        except StoreError:
            return model  # the watcher adds them when the store is back
