"""Prometheus metrics, summed over workers where there are several."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.telemetry.rerank_metrics import RerankMetrics

# Fractions of a millisecond matter here; the library's own buckets begin at five.
BUCKETS_S = (
    *(0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
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
            ("route", "status", "served_by"),
            registry=registry,
        )
        self.seconds = Histogram(
            "longtail_request_seconds",
            "Time from a request's first byte to its answer; rejected ones (429) are not timed.",
            ("route",),
            buckets=BUCKETS_S,
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
            "longtail_degraded", "Answers with a missing part.", ("what",), registry=registry
        )
        self.events = Counter(
            "longtail_events",
            "Events made durable, by destination.",
            ("where",),
            registry=registry,
        )
        self.rejected = Counter(
            "longtail_overload", "Requests rejected with 429 because of load.", registry=registry
        )
        self.swaps = Counter(
            "longtail_model_swaps", "Changes of the current model.", registry=registry
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
            "Workers that answer with this version.",
            ("version",),
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
        self.rerank = RerankMetrics(registry)
        self._requests: dict[tuple[str, int, str], Counter] = {}
        self._seconds: dict[str, Histogram] = {}
        self._stages = {
            stage: self.stage_seconds.labels(stage) for stage in ("features", "inference")
        }
        self._rerank_seconds = self.stage_seconds.labels("rerank")

    def answered(self, route: str, status: int, served_by: str, seconds: float | None) -> None:
        """Count one answer, and time it if its request was complete."""
        self._count(route, status, served_by).inc()
        if seconds is None:
            return
        histogram = self._seconds.get(route)
        if histogram is None:
            histogram = self._seconds[route] = self.seconds.labels(route)
        histogram.observe(seconds)

    def rejected_by_overload(self, route: str, n: int) -> None:
        """Count rejected requests. Timing them would make an overloaded service look fast."""
        self._count(route, 429, "").inc(n)
        self.rejected.inc(n)

    def _count(self, route: str, status: int, served_by: str) -> Counter:
        """A child metric; kept, as looking it up again costs more."""
        key = (route, status, served_by)
        counter = self._requests.get(key)
        if counter is None:
            counter = self._requests[key] = self.requests.labels(route, str(status), served_by)
        return counter

    def stages(self, timings_ms: dict[str, float]) -> None:
        """Time the stages of one pass through the recommend path."""
        for stage, histogram in self._stages.items():
            histogram.observe(timings_ms[stage] / 1e3)
        if timings_ms["rerank"]:  # of most requests there is nothing to time
            self._rerank_seconds.observe(timings_ms["rerank"] / 1e3)

    def document(self) -> bytes:
        """All metrics in Prometheus' text format, summed over workers where there are several."""
        if MULTIPROCESS_DIR not in os.environ:
            return generate_latest(self._registry)
        _forget_dead_workers(Path(os.environ[MULTIPROCESS_DIR]))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


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
