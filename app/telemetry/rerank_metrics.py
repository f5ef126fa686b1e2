"""Metrics of reranking."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

OUTCOMES = ("skipped", "fresh", "cached", "pending", "timed_out")
BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)


class RerankMetrics:
    """Outcomes of requests that were to be reranked, and the reranker's state."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._outcomes = Counter(
            "longtail_rerank_outcomes",
            "Answers that were to be reranked, by outcome; skipped: the reranker couldn't be "
            "asked.",
            ("outcome", "version", "arm"),
            registry=registry,
        )
        self._by_key: dict[tuple[str, str, str], Counter] = {}
        self.seconds = Histogram(
            "longtail_rerank_seconds",
            "Time from asking the reranker to its answer, whether waited for or not.",
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.in_flight = Gauge(
            "longtail_rerank_in_flight",
            "Jobs that the reranker was asked and has not answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.failures = Counter(
            "longtail_rerank_failures",
            "Jobs that ended without a usable answer.",
            registry=registry,
        )
        self.breaker_open = Gauge(
            "longtail_rerank_breaker_open",
            "Workers that leave the reranker alone because it failed.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.cached = Counter(
            "longtail_rerank_cached",
            "Answers written into the store's cache.",
            registry=registry,
        )

    def expect(self, version: str, arm: str) -> None:
        """Begin the series of a version, and of an arm of it; empty: of users in no arm.

        A rate over a series that isn't there yet is no zero.
        """
        for outcome in OUTCOMES:
            self._child(outcome, version, arm)

    def count(self, outcome: str, version: str, arm: str, n: int) -> None:
        """Count n answers that were to be reranked."""
        self._child(outcome, version, arm).inc(n)

    def _child(self, outcome: str, version: str, arm: str) -> Counter:
        """One series; kept, as looking it up again costs more."""
        key = (outcome, version, arm)
        child = self._by_key.get(key)
        if child is None:
            child = self._by_key[key] = self._outcomes.labels(*key)
        return child
