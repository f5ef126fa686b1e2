"""Prometheus metrics, summed over workers where there are several."""

from __future__ import annotations

import os
import platform
from collections import Counter as Counts
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TypeAlias

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.telemetry.admin_metrics import AdminMetrics
from app.telemetry.caller_metrics import CallerMetrics
from app.telemetry.package_version import package_version
from app.telemetry.recent_series import RecentNames, RecentSeries
from app.telemetry.rerank_metrics import RerankMetrics

# Fractions of a millisecond matter here; the library's own buckets begin at five.
BUCKETS_S = (
    *(0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
AnsweredBy: TypeAlias = tuple[str, str, str, str]
"""What an answer was served by, as in the answer, the model's version, the experiment's arm, and
the name under which the version answers."""
NOBODY: AnsweredBy = ("", "", "", "")
Marks: TypeAlias = tuple[Collection[str], str, str, str]
"""What an answer lacks (`degraded`) and the outcome of its reranking (`rerank`), as in the answer,
the model's version and the experiment's arm."""
SHADOW_OUTCOMES = ("answered", "busy", "full", "incomplete", "failed")
MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """All counters and timers; one instance for each application."""

    def __init__(self) -> None:
        # A second series with the time of creation for each series is of no use here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "longtail_requests",
            "Requests answered.",
            ("route", "status", "served_by", "version", "arm", "model"),
            registry=registry,
        )
        self.seconds = Histogram(
            "longtail_request_seconds",
            "Time from a request's first byte to its answer; rejected ones (429) are not timed.",
            ("route", "version", "arm", "model"),
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.batch_entries = Counter(
            "longtail_batch_entries",
            "Requests answered inside batches; a batch as a whole counts as one request.",
            ("status", "served_by", "version", "arm", "model"),
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "longtail_stage_seconds",
            "Time by stage of the recommend path.",
            ("stage",),
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.degraded = Counter(
            "longtail_degraded",
            "Answers with a missing part.",
            ("what", "version", "arm"),
            registry=registry,
        )
        self.events = Counter(
            "longtail_events",
            "Events made durable, by destination.",
            ("where",),
            registry=registry,
        )
        kinds = Counter(
            "longtail_event_kinds",
            "Events by their meaning under the active version's rules.",
            ("kind",),
            registry=registry,
        )
        self._event_kinds = [kinds.labels(kind) for kind in ("context", "positive", "negative")]
        self.rejected = Counter(
            "longtail_overload", "Requests rejected with 429 because of load.", registry=registry
        )
        self.in_flight_limit = Gauge(
            "longtail_in_flight_limit",
            "Requests that may be in flight before further ones are rejected, of all workers.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.swaps = Counter(
            "longtail_model_swaps", "Changes of the current model.", registry=registry
        )
        self.canaries_taken_back = Counter(
            "longtail_canaries_taken_back",
            "Canaries that were shown to be worse than the active version and taken back.",
            registry=registry,
        )
        shadow = Counter(
            "longtail_shadow",
            "Requests of the shadow's share, by outcome; answered ones are kept for comparison.",
            ("outcome",),
            registry=registry,
        )
        # All from the beginning: a rate over a series that isn't there yet is no zero.
        self._shadow = {outcome: shadow.labels(outcome) for outcome in SHADOW_OUTCOMES}
        self.exposures_lost = Counter(
            "longtail_exposures_lost",
            "Answers that did not reach the log of exposures: too many waited for the store.",
            registry=registry,
        )
        self.exposures_waiting = Gauge(
            "longtail_exposures_waiting",
            "Answers in the memory of live workers that wait for the log of exposures.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.experiment_lost = Counter(
            "longtail_experiment_lost",
            "Exposures and clicks, of experiments or by version, that were not counted: too many "
            "waited for the store, or it rejected them.",
            registry=registry,
        )
        self.store_up = Gauge(
            "longtail_store_up",
            "1 while the store can be read.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.store_writable = Gauge(
            "longtail_store_writable",
            "1 while the store takes writes; 0 also where it is read-only or full.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.model = Gauge(
            "longtail_model_workers",
            "Workers that answer with this version, under this name.",
            ("version", "model"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.items = Gauge(
            "longtail_items",
            "Items that can be recommended.",
            ("kind",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.model_created = Gauge(
            "longtail_model_created_timestamp_seconds",
            "When the version that answers was built; the oldest where workers differ.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._rejected_versions = Gauge(
            "longtail_rejected_version",
            "1 while this version should answer and can't be loaded.",
            ("version",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.journal_events = Gauge(
            "longtail_journal_events",
            "Events in the journals of live workers that wait for the store.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._event_log_entries = Gauge(
            "longtail_event_log_entries",
            "Entries of the event log that wait to be archived.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._event_log_oldest = Gauge(
            "longtail_event_log_oldest_seconds",
            "How long the oldest of them has waited.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        build_info = Gauge(
            "longtail_build_info",
            "1; the labels say what runs.",
            ("version", "python"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        build_info.labels(package_version(), platform.python_version()).set(1)
        self.rerank = RerankMetrics(registry)
        self.admin = AdminMetrics(registry)
        self.callers = CallerMetrics(registry)
        self._versions, self._arms, self._names = RecentNames(), RecentNames(), RecentNames()
        self._requests: dict[tuple[str, int, AnsweredBy], Counter] = {}
        self._seconds: dict[tuple[str, AnsweredBy], Histogram] = {}
        self._stages = {
            stage: self.stage_seconds.labels(stage) for stage in ("features", "inference")
        }
        self._rerank_seconds = self.stage_seconds.labels("rerank")

    def answered(self, route: str, status: int, by: AnsweredBy, seconds: float | None) -> None:
        """Count one answer, and time it if its request was complete."""
        self._count(route, status, by).inc()
        if seconds is None:
            return
        key = (route, by)
        histogram = self._seconds.get(key)
        if histogram is None:
            histogram = self._seconds[key] = self.seconds.labels(route, *by[1:])
        histogram.observe(seconds)

    def batch_answered(self, outcomes: Iterable[tuple[int, AnsweredBy]]) -> None:
        """Count the requests of a batch, each by its status and by what answered it."""
        for (status, by), n in Counts(outcomes).items():
            self.batch_entries.labels(str(status), *by).inc(n)

    def marked(self, marks: Iterable[Marks]) -> None:
        """Count the missing parts of answers, and their reranking where they were to be reranked.

        A batch may have thousands of marks of a few series, each of which is looked up once.
        """
        missing: Counts[tuple[str, str, str]] = Counts()
        outcomes: Counts[tuple[str, str, str]] = Counts()
        for degraded, outcome, version, arm in marks:
            missing.update((what.partition(":")[0], version, arm) for what in degraded)
            if outcome != "skipped" or "rerank" in degraded:
                outcomes[outcome, version, arm] += 1
        for labels, n in missing.items():
            self.degraded.labels(*labels).inc(n)
        for labels, n in outcomes.items():
            self.rerank.count(*labels, n)

    def events_read(self, weights: Iterable[float]) -> None:
        """Count events by what `EventRules.weigh` answered."""
        for sign, n in Counts((weight > 0) - (weight < 0) for weight in weights).items():
            self._event_kinds[sign].inc(n)

    def event_log_waits(self, n_entries: int, oldest_s: float) -> None:
        """Note how much of the event log waits to be archived, and for how long."""
        self._event_log_entries.set(n_entries)
        self._event_log_oldest.set(oldest_s)

    def answering(self, answering: Collection[tuple[str, str]], names: Collection[str]) -> None:
        """Note which versions answer which arms from now on; series of others end in an hour.

        Args:
            answering: pairs of version and arm; an empty one is of users in no arm.
            names: under which versions are active.
        """
        self._names.use(names)
        self._versions.use({version for version, _ in answering})
        self._arms.use({arm for _, arm in answering})
        for version, arm in answering:
            self.rerank.expect(version, arm)

    def version_rejected(self, version: str, is_rejected: bool) -> None:
        """Note that a version can't be loaded, or is no longer wanted or rejected."""
        self._rejected_versions.labels(version).set(is_rejected)

    def shadow_asked(self, outcome: str) -> None:
        """Count a request that a shadow was to answer too: answered, busy, full or failed."""
        self._shadow[outcome].inc()

    def rejected_by_overload(self, route: str, n: int) -> None:
        """Count rejected requests. Timing them would make an overloaded service look fast."""
        self._count(route, 429, NOBODY).inc(n)
        self.rejected.inc(n)

    def _count(self, route: str, status: int, by: AnsweredBy) -> Counter:
        """A child metric; kept, as looking it up again costs more."""
        key = (route, status, by)
        counter = self._requests.get(key)
        if counter is None:
            counter = self._requests[key] = self.requests.labels(route, str(status), *by)
        return counter

    def stages(self, timings_ms: dict[str, float]) -> None:
        """Time the stages of one pass through the recommend path."""
        for stage, histogram in self._stages.items():
            histogram.observe(timings_ms[stage] / 1e3)
        if timings_ms["rerank"]:  # of most requests there is nothing to time
            self._rerank_seconds.observe(timings_ms["rerank"] / 1e3)

    def document(self) -> bytes:
        """All metrics in Prometheus' text format, summed over workers where there are several."""
        registry = self._registry
        if MULTIPROCESS_DIR in os.environ:
            _forget_dead_workers(Path(os.environ[MULTIPROCESS_DIR]))
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        names = {"version": self._versions, "arm": self._arms, "model": self._names}
        return generate_latest(RecentSeries(registry.collect, names))


def _forget_dead_workers(folder: Path) -> None:
    """Forget the version of a killed worker; its counts stay."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdecimal() and not _is_alive(int(pid)):
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
