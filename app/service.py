"""The resources of a running service, created at its start and passed on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.deployment.models import Models
from app.deployment.repeating import Repeating
from app.deployment.watcher import Watcher
from app.model.background import gc_paused
from app.model.model import Model
from app.overload.admission import Admission
from app.overload.running import Runner
from app.reranking.cache import AnswerCache
from app.reranking.cached_reranker import CachedReranker
from app.reranking.job import Reranker
from app.reranking.loading import RerankerLoading
from app.settings import Settings
from app.store.journal import Journal
from app.store.state import StoreState
from app.store.store import Store
from app.telemetry.metrics import Metrics
from model_store.errors import ConfigError, LongtailError, NotReady

log = logging.getLogger(__name__)


class Service:
    """Settings, store, models, metrics; nothing is opened before `running`.

    Args:
        settings: of the service.
        prepare: called in a thread before a model is loaded; if it fails, the service ends.
        waits_for_model: accept no requests before the first load is over. That is better where
            other workers answer them.
        reranker: of language models; None: no answer is reranked.

    Raises:
        ConfigError: there is no store to use; `longtail serve` starts the embedded one.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        prepare: Callable[[], object] | None = None,
        waits_for_model: bool = False,
        reranker: Reranker | None = None,
    ) -> None:
        if settings.redis_url is None:
            raise ConfigError(
                "LONGTAIL_REDIS_URL is unset; `longtail serve` starts the embedded store"
            )
        self.settings = settings
        self._prepare = prepare
        self._is_preparing = False
        self._waits_for_model = waits_for_model
        self.started = asyncio.Event()  # the first load is over, with or without success
        self.failure: LongtailError | None = None
        self._ending = asyncio.Event()
        self.metrics = Metrics()
        self.journal = Journal(settings.store_dir)
        self.store = Store(
            settings.redis_url,
            self.journal,
            timeout_s=settings.store_timeout_ms / 1e3,
            remembered_users=settings.remembered_users,
            on_change=self._store_changed,
            on_renewal=self._store_renewed,
        )
        self.models = Models(
            settings.redis_url,
            self.store.versions,
            self.metrics,
            bundles_dir=settings.bundles_dir,
            provider=settings.execution_provider,
        )
        self.admission = Admission(settings.max_wait_ms / 1e3, settings.max_in_flight)
        self._reranker = reranker
        self.reranker = CachedReranker(
            reranker,
            AnswerCache(
                self.store.reranks,
                max_entries=settings.rerank_cache_entries,
                max_age_s=settings.rerank_cache_s,
            ),
            self.metrics.rerank,
            max_wait_s=settings.rerank_wait_ms / 1e3,
            max_in_flight=settings.rerank_max_in_flight,
            on_wait=self.admission.idle,
        )
        self.reranker_loading = RerankerLoading(reranker, lambda: self.models.current)
        self.runner = Runner(self.admission.count)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open everything, and close it again at the end."""
        interval_s = self.settings.watch_interval_ms / 1e3
        watcher = Watcher(self.models, self.store, interval_s)
        loading = Repeating(
            "loading the reranker", self.reranker_loading.look, interval_s, self.store.is_known
        )
        starting = asyncio.create_task(self._start(watcher))
        loading.start()
        try:
            if self._waits_for_model:
                waits = [asyncio.create_task(one.wait()) for one in (self.started, self._ending)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for one in waits:
                    one.cancel()
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await loading.stop()
            await self.reranker_loading.stop()
            await watcher.stop()
            if self._reranker is not None:
                await self._reranker.close()
            await self.reranker.close()
            self.models.close()
            self.store.close()
            self.journal.close()

    async def _start(self, watcher: Watcher) -> None:
        try:
            if self._prepare is not None:
                self._is_preparing = True
                with gc_paused():
                    await asyncio.to_thread(self._prepare)
                self._is_preparing = False
            # The active version, fresh items, and events that an earlier process journaled.
            await watcher.look()
            await self.reranker_loading.look()
            watcher.start()
        except LongtailError as error:
            self.failure = error
        except Exception as error:
            log.exception("the service could not start")
            self.failure = LongtailError(f"the service could not start: {error}")
        finally:
            self.started.set()

    def end(self) -> None:
        """Stop waiting for the first load; to be called from the event loop's thread."""
        asyncio.get_running_loop().call_soon_threadsafe(self._ending.set)

    @property
    def reranker_reason(self) -> str | None:
        """Why the reranker is not asked at present; None if it is, or is being loaded."""
        return self.reranker_loading.reason or self.reranker.paused_reason

    def _store_renewed(self) -> None:
        self.models.reconnect()

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
            if self.models.loading is not None:
                raise NotReady(f"version {self.models.loading} is being loaded")
            if self._is_preparing:
                raise NotReady("the bundle is being published")
            if not self.started.is_set():
                raise NotReady("the service is starting")
            reasons = "; ".join(f"{v}: {why}" for v, why in self.models.rejected.items())
            raise NotReady(f"no model is loaded ({reasons or 'no version is active'})")
        return model
