"""The resources of a running service, created at its start and passed on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.comparison.background_answers import BackgroundAnswers
from app.comparison.comparer import Comparer
from app.comparison.shadow import ShadowQueue
from app.deployment.answering import Answering
from app.deployment.canary_watch import LOOK_S, CanaryWatch
from app.deployment.exposure_log import WRITE_S as EXPOSURES_WRITE_S
from app.deployment.exposure_log import ExposureLog
from app.deployment.exposures import WRITE_S, Exposures
from app.deployment.forgetting import Forgetting, Memory
from app.deployment.loaded_versions import STOP_TIMEOUT_S
from app.deployment.models import Models
from app.deployment.operations import Operations
from app.deployment.repeating import Repeating
from app.deployment.watcher import LEAVE_S, Watcher
from app.deployment.worker_report import WorkerReport
from app.model.background import BackgroundThread, gc_paused
from app.model.model import Model
from app.overload.admission import Admission
from app.overload.quotas import SETTLE_S, Quotas
from app.overload.running import Runner
from app.recommend.exploration import Explorer
from app.reranking.cache import AnswerCache
from app.reranking.cached_reranker import CachedReranker
from app.reranking.job import Reranker
from app.reranking.loading import RerankerLoading
from app.settings import Settings
from app.store.journal import Journal
from app.store.sessions import Sessions
from app.store.state import StoreState
from app.store.store import Store
from app.telemetry.metrics import Metrics
from model_store.errors import (
    ConfigError,
    LongtailError,
    StoreError,
)
from model_store.texts import first_line

if TYPE_CHECKING:
    from app.telemetry.traces import Traces

log = logging.getLogger(__name__)

ACCEPT_LOOK_S = 0.02
LOG_LOOK_S = 5.0
"""Between two looks whether requests may be accepted."""


class Service:
    """Settings, store, models, metrics; nothing is opened before `running`.

    Args:
        settings: of the service.
        prepare: called in a thread before a model is loaded; if it fails, the service ends.
        accepts: if given, accept no requests before the first load is over and this is true. That
            is better where another worker answers them.
        reranker: of language models; None: no answer is reranked.

    Raises:
        ConfigError: there is no store to use; `longtail serve` starts the embedded one.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        prepare: Callable[[], object] | None = None,
        accepts: Callable[[], bool] | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        if settings.redis_url is None:
            raise ConfigError(
                "LONGTAIL_REDIS_URL is unset; `longtail serve` starts the embedded store"
            )
        self.settings = settings
        self._prepare = prepare
        self._is_preparing = False
        self._accepts = accepts
        self.started = asyncio.Event()  # the first load is over, with or without success
        self.failure: LongtailError | None = None
        self._ending = asyncio.Event()
        self.metrics = Metrics()
        self.journal = Journal(settings.store_dir, self.metrics.journal_events.set)
        self.store = Store(
            settings.redis_url,
            self.journal,
            timeout_s=settings.store_timeout_ms / 1e3,
            remembered_users=settings.remembered_users,
            sessions=Sessions(settings.session_prefix, settings.session_ttl_s),
            logged_entries=settings.event_log_entries,
            on_change=self._store_changed,
            on_renewal=self._store_renewed,
        )
        self.operations = Operations(settings.redis_url, settings.bundles_dir)
        self.models = Models(
            self.operations.registry,
            self.store.versions,
            self.metrics,
            bundles_dir=settings.bundles_dir,
            provider=settings.execution_provider,
            trust=settings.trust,
        )
        self.answering = Answering(self.models, self._what_starts)
        self._report = WorkerReport(self.models, self.store.versions)
        self.canary_watch = CanaryWatch(
            self.models,
            self.store.outcomes,
            self.operations.take_back,
            self._report.worker_id,
            self.metrics.canaries_taken_back.inc,
            self._is_reranker_loading,
        )
        self.exposures = Exposures(
            self.store.experiments, self._report.worker_id, self.metrics.experiment_lost.inc
        )
        self.exposure_log: ExposureLog | None = None
        if settings.exposure_share and settings.event_log_entries:
            self.exposure_log = ExposureLog(
                self.store.event_log,
                settings.exposure_share,
                settings.event_log_entries,
                self.metrics.exposures_lost.inc,
            )
        self.explorer: Explorer | None = None
        if settings.explore_share:
            self.explorer = Explorer(
                settings.explore_share,
                settings.explore_temperature,
                settings.explore_ranks,
                settings.explore_candidates,
            )
        self.admission = Admission(
            settings.max_wait_ms / 1e3, settings.max_in_flight, self.metrics.in_flight_limit.set
        )
        self._reranker = reranker
        answers = AnswerCache(
            self.store.reranks,
            max_entries=settings.rerank_cache_entries,
            max_age_s=settings.rerank_cache_s,
        )
        self.reranker = CachedReranker(
            reranker,
            answers,
            self.metrics.rerank,
            max_wait_s=settings.rerank_wait_ms / 1e3,
            max_in_flight=settings.rerank_max_in_flight,
            on_wait=self.admission.idle,
        )
        self.reranker_loading = RerankerLoading(reranker, lambda: self.models.current)
        self._reranker_waits: str | None = None
        self._second_reranker_loading = RerankerLoading(reranker, lambda: self.models.second)
        self.runner = Runner(self.admission.count)
        self.traces = _open_traces(settings)
        self.quotas = Quotas(self.store.tokens) if settings.api_keys == "required" else None
        self._comparing = BackgroundThread("comparison", yields=True)
        self.comparer = Comparer(
            self.operations.registry,
            self.store,
            self._comparing,
            bundles_dir=settings.bundles_dir,
            provider=settings.execution_provider,
            trust=settings.trust,
            loaded=self._loaded_without_rules,
        )
        self.shadow = ShadowQueue(
            BackgroundAnswers(self.store.background_features, self._comparing),
            self.store.answer_pairs,
            self.admission.count,
            self._is_shadow,
            self.metrics.shadow_asked,
            self._forget,
        )
        memories: list[Memory] = [
            self.store.features.remembered,
            self.exposures,
            answers,
            self.shadow,
        ]
        where_used = (self.exposure_log, self.store.recent_events)
        memories += [memory for memory in where_used if memory is not None]
        tell = None if reranker is None else reranker.forget
        self.forgetting = Forgetting(self.store.people, self.journal, memories, tell)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open everything, and close it again at the end."""
        interval_s = self.settings.watch_interval_ms / 1e3
        watcher = Watcher(self.models, self.store, self._report, interval_s)
        self.operations.watcher = watcher
        is_known = self.store.is_known
        others = [
            Repeating("loading the reranker", self._load_rerankers, interval_s, is_known),
            Repeating("watching the canary", self.canary_watch.look, LOOK_S, is_known),
            Repeating("counting exposures", self.write_counts, WRITE_S, is_known),
            Repeating("reading who is forgotten", self.forgetting.look, interval_s, is_known),
            Repeating("measuring the event log", self._measure_event_log, LOG_LOOK_S, is_known),
        ]
        if self.exposure_log is not None:
            write = self.write_exposure_log
            others.append(Repeating("writing exposures", write, EXPOSURES_WRITE_S, is_known))
        if self.quotas is not None:
            others.append(Repeating("settling quotas", self.quotas.settle, SETTLE_S, is_known))
        starting = asyncio.create_task(self._start(watcher))
        for task in others:
            task.start()
        self.shadow.start()
        try:
            if self._accepts is not None:
                await self._until_it_accepts(self._accepts)
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            for task in others:
                await task.stop()
            await self._write_last_exposures()
            await self.reranker_loading.stop()
            await self._second_reranker_loading.stop()
            await watcher.stop()
            await self.shadow.stop()
            self._comparing.stop(STOP_TIMEOUT_S)
            if self._reranker is not None:
                await self._reranker.close()
            await self.reranker.close()
            if self.traces is not None:
                await asyncio.to_thread(self.traces.close)
            self.models.close()
            self.operations.close()
            self.store.close()
            self.journal.close()

    async def _until_it_accepts(self, accepts: Callable[[], bool]) -> None:
        while not (self._ending.is_set() or (self.started.is_set() and accepts())):
            await asyncio.sleep(ACCEPT_LOOK_S)

    async def _start(self, watcher: Watcher) -> None:
        try:
            if self._prepare is not None:
                self._is_preparing = True
                with gc_paused():
                    await asyncio.to_thread(self._prepare)
                self._is_preparing = False
            # The active version, fresh items, and events that an earlier process journaled.
            await watcher.look()
            await self._load_rerankers()
            watcher.start()
        except LongtailError as error:
            self.failure = error
        except Exception as error:
            log.exception("the service could not start")
            reason = f"{type(error).__name__}: {first_line(error)}"
            self.failure = LongtailError(f"the service could not start: {reason}")
        finally:
            self.started.set()

    def _what_starts(self) -> str | None:
        if self._is_preparing:
            return "the bundle is being published"
        return None if self.started.is_set() else "the service is starting"

    def end(self) -> None:
        """Stop waiting for the first load; to be called from the event loop's thread."""
        asyncio.get_running_loop().call_soon_threadsafe(self._ending.set)

    @property
    def reranker_reason(self) -> str | None:
        """Why the reranker is not asked at present; None if it is, or is being loaded."""
        waits = self._reranker_waits
        return waits or self.reranker_loading.reason or self.reranker.paused_reason

    async def _load_rerankers(self) -> None:
        if self._reranker is not None and self.forgetting.read_up_to is None:
            # It has to know whom it may not put into prompts before it makes any.
            try:
                await self.forgetting.look()
            except StoreError as error:
                self._reranker_waits = f"who was forgotten isn't known yet: {error}"
                return
        self._reranker_waits = None
        await self.reranker_loading.look()
        await self._second_reranker_loading.look()

    async def _write_last_exposures(self) -> None:
        for write in (self.write_exposure_log, self.write_counts):
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await write()

    async def write_counts(self) -> None:
        """Write what users saw and clicked, without those who were forgotten meanwhile.

        Raises:
            StoreError: the store can't be read, or takes no writes.
        """
        await self.forgetting.look()
        await self.exposures.write(self.forgetting.read_up_to or 0)

    async def write_exposure_log(self) -> None:
        """Write what users were answered, where it is kept; otherwise as `write_counts`."""
        if self.exposure_log is not None:
            try:
                await self.forgetting.look()
                await self.exposure_log.write()
            finally:
                self.metrics.exposures_waiting.set(self.exposure_log.n_waiting)

    async def _measure_event_log(self) -> None:
        self.metrics.event_log_waits(*await self.store.event_log.look())

    async def _forget(self) -> None:
        await self.forgetting.look()

    def _is_reranker_loading(self, model: Model) -> bool:
        both = (self.reranker_loading, self._second_reranker_loading)
        return all(loading.state_of(model) == "loading" for loading in both)

    def _is_shadow(self, version: str) -> bool:
        shadows = (routing.shadow for _, routing in self.models.routings)
        return any(one is not None and one.model.version == version for one in shadows)

    def _loaded_without_rules(self, version: str) -> Model | None:
        # Versions are compared by what they recommend, and one that is loaded for it has no rules.
        model = self.models.find(version)
        return model.with_rules(None) if model is not None and model.rules is not None else model

    def _store_renewed(self) -> None:
        # The store's name may mean another server now.
        self.operations.disconnect()

    def _store_changed(self, state: StoreState) -> None:
        self.metrics.store_up.set(state.reads is None)
        self.metrics.store_writable.set(state.writes is None)


def _open_traces(settings: Settings) -> Traces | None:
    """Where traces go; None where there are none: nothing of OpenTelemetry's is loaded then."""
    if settings.traces == "off":
        return None
    from app.telemetry.traces import Traces

    return Traces(settings.traces_share)
