"""One server under one kind of request, and its measurements."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from loadtest.children import Child
from loadtest.client import FaultFinder, Load, Sample, encode_post
from loadtest.pacing import Arrivals
from loadtest.recorder import summarise_ms

OPEN_LOOP_CONNECTIONS = 64


@dataclass
class MeasuredServer:
    """A server, the requests that are sent to it one after another, and each round's figures."""

    child: Child
    requests: list[bytes]
    find_fault: FaultFinder
    rps: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    client_cpu_shares: list[float] = field(default_factory=list)
    single: list[Sample] = field(default_factory=list)
    open_loop: dict[str, Sample] = field(default_factory=dict)
    n_sent: int = 0
    n_failed: int = 0

    @classmethod
    def asked(
        cls,
        child: Child,
        bodies: Sequence[object],
        find_fault: FaultFinder,
        path: str = "/recommend",
    ) -> MeasuredServer:
        """A server that gets these bodies one after another."""
        return cls(child, [encode_post(child.address, path, body) for body in bodies], find_fault)

    def warm_up(self, n_connections: int, duration_s: float) -> None:
        """Send load whose failures count, and whose figures don't."""
        with Load(self.child.address, n_connections) as load:
            self._count(load.saturate(self.requests, duration_s, self.find_fault))

    def saturate(self, n_connections: int, duration_s: float) -> None:
        """Send as many requests as it answers, on several connections."""
        cpu_s = self.child.cpu_s
        with Load(self.child.address, n_connections) as load:
            sample = load.saturate(self.requests, duration_s, self.find_fault)
        self.rps.append(sample.rps)
        self.client_cpu_shares.append(sample.client_cpu_share)
        self._count(sample)
        if cpu_s is not None and (after_s := self.child.cpu_s) is not None:
            # Good answers only: a rejected request is cheap, and would lower the mean.
            n_good = max(1, len(sample.latencies) - sample.n_failed)
            self.cpu_us.append((after_s - cpu_s) / n_good * 1e6)

    def ask_one_by_one(self, duration_s: float) -> None:
        """One connection: the latency of a request on an idle service."""
        with Load(self.child.address, 1) as load:
            sample = load.saturate(self.requests, duration_s, self.find_fault)
        self.single.append(sample)
        self._count(sample)

    def keep_pace(self, rate_rps: int, duration_s: float) -> None:
        """Requests at a fixed rate, latencies from their intended starts."""
        starts = Arrivals(rate_rps, duration_s, seed=rate_rps).of_user(0)
        with Load(self.child.address, OPEN_LOOP_CONNECTIONS) as load:
            sample = load.keep_pace(self.requests, starts, self.find_fault)
        self.open_loop[str(rate_rps)] = sample
        self._count(sample)

    def single_ms(self) -> dict[str, float | None]:
        """Percentiles at one connection, over all rounds."""
        return summarise_ms(np.concatenate([sample.latencies_ms for sample in self.single]))

    def _count(self, sample: Sample) -> None:
        self.n_sent += len(sample.latencies)
        self.n_failed += sample.n_failed
        for fault, count in sample.faults.items():
            print(f"  {self.child.name}: {count} × {fault}", file=sys.stderr)


def expect_items(n: int) -> FaultFinder:
    """A check cheap enough for every answer: success, and n items."""

    def find_fault(status: int, _head: bytes, body: bytes) -> str | None:
        if status != 200:
            return f"status {status}"
        found = body.count(b'"item_id"')
        return None if found == n else f"{found} items instead of {n}"

    return find_fault


def expect_items_or_rejection(n: int) -> FaultFinder:
    """The same, where a 429 with Retry-After is no failure either."""
    expect = expect_items(n)

    def find_fault(status: int, head: bytes, body: bytes) -> str | None:
        if status != 429:
            return expect(status, head, body)
        return None if b"\r\nretry-after:" in head.lower() else "status 429 without Retry-After"

    return find_fault
