"""Records a run's requests exactly (locust rounds its own figures to whole ms)."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}


def summarise_ms(
    values_ms: Sequence[float] | npt.NDArray[np.float64],
) -> dict[str, float | None]:
    """Percentiles in ms; None for each where nothing was measured."""
    if not len(values_ms):
        return dict.fromkeys(PERCENTILES)
    # "higher" gives a latency that some request really had, and never flatters the tail.
    found = np.percentile(
        np.asarray(values_ms, dtype=np.float64), list(PERCENTILES.values()), method="higher"
    )
    return {name: round(float(value), 3) for name, value in zip(PERCENTILES, found, strict=True)}


class Recorder:
    """Collects every request of a run: 8 bytes for each time, and counts of everything else."""

    def __init__(self) -> None:
        self.latencies_ms: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self.service_ms = array("d")
        self.client_lag_ms = array("d")
        self.failures: Counter[str] = Counter()
        self.served_by: Counter[str] = Counter()
        self.degraded: Counter[str] = Counter()
        self.rerank: Counter[str] = Counter()
        self.model_versions: Counter[str] = Counter()
        self.n_unsent = 0

    def record(
        self,
        name: str,
        latency_ms: float,
        *,
        service_ms: float,
        fault: str | None = None,
        answer: Any = None,
    ) -> None:
        """Record one request: latency from its intended start, service time from its real one.

        A failed request counts in the latencies too: people waited for it.
        """
        self.latencies_ms[name].append(latency_ms)
        self.service_ms.append(service_ms)
        if fault is not None:
            self.failures[f"{name}: {fault}"] += 1
        if isinstance(answer, dict) and "served_by" in answer:
            self.served_by[str(answer["served_by"])] += 1
            self.rerank[str(answer.get("rerank"))] += 1
            self.model_versions[str(answer.get("model_version"))] += 1
            self.degraded.update(map(str, answer.get("degraded") or ()))

    @property
    def n_requests(self) -> int:
        """Requests that ended, successful or failed."""
        return len(self.service_ms)

    def recent_ms(self, n: int) -> npt.NDArray[np.float64]:
        """The last n latencies of each kind of request, for showing progress."""
        return np.concatenate(
            [np.asarray(times[-n:]) for times in self.latencies_ms.values()] or [np.empty(0)]
        )

    def figures(self, elapsed_s: float) -> dict[str, Any]:
        """All figures of the run, ready for JSON.

        `due` counts intended requests; those still unsent at the end have failed. `rps` counts
        answers without a fault, over the time from the first intended start.
        """
        everything = self.recent_ms(self.n_requests)
        failed = self.failures.total() + self.n_unsent
        due = self.n_requests + self.n_unsent
        good = self.n_requests - self.failures.total()
        return {
            "due": due,
            "requests": self.n_requests,
            "unsent": self.n_unsent,
            "failed": failed,
            "failure_share": failed / due if due else 0.0,
            "failures": dict(self.failures.most_common(20)),
            "elapsed_s": round(elapsed_s, 3),
            "rps": round(good / elapsed_s, 2) if elapsed_s > 0 else None,
            "latency_ms": summarise_ms(everything),
            "service_ms": summarise_ms(self.service_ms),
            "client_lag_ms": summarise_ms(self.client_lag_ms),
            "by_request": {
                name: {"requests": len(times), "latency_ms": summarise_ms(times)}
                for name, times in sorted(self.latencies_ms.items())
            },
            "served_by": dict(self.served_by),
            "rerank": dict(self.rerank),
            "degraded": dict(self.degraded),
            "model_versions": dict(self.model_versions),
        }
