"""Ends the series of versions and of arms that are long gone.

Each new version and each arm of an experiment gives series of its own, and a service may run for
months. The client library can't remove series that several processes count together, so they are
left out where metrics are read. They stay for an hour after their last use: what a canary did
before it was taken back is still to be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import Metric
from prometheus_client.samples import Sample

LINGER_S = 3_600.0


@dataclass
class RecentNames:
    """Values of a label: those in use, and those that were lately.

    Of a name that it has never seen in use, as another process counted it before this one was
    started, the hour begins when it is asked about.

    Attributes:
        clock: seconds that only grow.
    """

    clock: Callable[[], float] = time.monotonic
    _used: frozenset[str] = frozenset()
    _left_s: dict[str, float] = field(default_factory=dict)

    def use(self, names: Collection[str]) -> None:
        """These are in use now, and no others."""
        now_s = self.clock()
        for name in self._used.difference(names):
            self._left_s[name] = now_s
        self._used = frozenset(names)
        for name in self._used:
            self._left_s.pop(name, None)

    def has(self, name: str) -> bool:
        """Whether a name is in use or was in the last hour; the empty one always is."""
        if not name or name in self._used:
            return True
        now_s = self.clock()
        return now_s - self._left_s.setdefault(name, now_s) < LINGER_S


@dataclass(frozen=True)
class RecentSeries:
    """Metrics without series whose `version` or `arm` is long gone.

    A gauge that is not 0 tells something that holds now, and stays: a version that can't be loaded
    is in no use either.
    """

    collect_all: Callable[[], Iterable[Metric]]
    names: dict[str, RecentNames]

    def collect(self) -> Iterator[Metric]:
        """The metrics, as a registry of the client library gives them."""
        for metric in self.collect_all():
            is_gauge = metric.type == "gauge"
            metric.samples = [
                sample
                for sample in metric.samples
                if (is_gauge and sample.value) or self._is_recent(sample)
            ]
            yield metric

    def _is_recent(self, sample: Sample) -> bool:
        labels = sample.labels
        return all(
            known.has(labels[label]) for label, known in self.names.items() if label in labels
        )
