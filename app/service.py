"""The resources of a running service, made when it starts and passed on to whoever needs them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.deployment.lifecycle import Models
from app.deployment.watcher import Watcher
from app.model.model import Model
from app.overload.admission import Admission
from app.overload.running import Runner
from app.settings import Settings
from app.store.journal import Journal
from app.store.state import StoreState
from app.store.store import Store
from app.telemetry.metrics import Metrics
from model_store.errors import ConfigError, NotReady


class Service:
    """Settings, store, models, metrics; nothing is opened before `running`.

    Raises:
        ConfigError: there is no store to use; `longtail serve` starts the embedded one.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.redis_url is None:
            raise ConfigError(
                "LONGTAIL_REDIS_URL is unset; `longtail serve` starts the embedded store"
            )
        self.settings = settings
        self.metrics = Metrics()
        self.journal = Journal(settings.store_dir)
        self.store = Store(
            settings.redis_url,
            self.journal,
            timeout_s=settings.store_timeout_ms / 1e3,
            remembered_users=settings.remembered_users,
            on_change=self._store_changed,
        )
        self.models = Models(
            settings.redis_url,
            self.store.versions,
            self.metrics,
            bundles_dir=settings.bundles_dir,
            provider=settings.execution_provider,
        )
        self.admission = Admission(settings.max_wait_ms / 1e3, settings.max_in_flight)
        self.runner = Runner(self.admission.count)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open everything, and close it again at the end."""
        watcher = Watcher(self.models, self.store, self.settings.watch_interval_ms / 1e3)
        await self.models.start()
        # Fresh items and what an earlier process journaled are there for the first request.
        await watcher.look()
        watcher.start()
        try:
            yield
        finally:
            await watcher.stop()
            self.store.close()
            self.journal.close()

    def _store_changed(self, state: StoreState) -> None:
        self.metrics.store_up.set(state.reads is None)
        self.metrics.store_writable.set(state.writes is None)

    def model(self) -> Model:
        """The current model, to be used for one whole request.

        Raises:
            NotReady: none is loaded.
        """
        model = self.models.current
        if model is None:
            reasons = "; ".join(f"{v}: {why}" for v, why in self.models.rejected.items())
            raise NotReady(f"no model is loaded ({reasons or 'no version is active'})")
        return model
