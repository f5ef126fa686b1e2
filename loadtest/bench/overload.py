"""Three times the capacity: accepted and rejected requests, their times, memory, recovery."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.bench.catalogue import split_processes
from loadtest.bench.figures import format_ms, percentiles_ms
from loadtest.bench.measured_server import (
    MeasuredServer,
    expect_items,
    expect_items_or_rejection,
)
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import Rig, check_answers, print_line
from loadtest.bench.watch import CpuWatch, MemoryWatch
from loadtest.client import Load, Sample
from loadtest.pacing import Arrivals

STEADY_SHARE = 0.7  # of the capacity
OVERLOAD_FACTOR = 3.0
N_CONNECTIONS = 512  # more than the service takes at once, or it would never reject any
GIVE_UP_S = 1.0  # a caller without a free connection for so long goes away
REJECTED = 429
LEAD_SHARE = 0.2  # of the first steady phase, in which hundreds of connections are opened
STEADY_CONNECTIONS = 64


@dataclass(frozen=True)
class Phases:
    """Steady load, overload and recovery, one after the other without a break; seconds."""

    capacity_rps: float
    steady_s: float
    overload_s: float

    @property
    def ends_s(self) -> tuple[float, float, float]:
        """When each phase ends."""
        over_s = self.steady_s + self.overload_s
        return self.steady_s, over_s, over_s + self.steady_s

    def starts_s(self) -> Iterator[float]:
        """Intended starts of all three phases."""
        begun_s = 0.0
        for number, (end_s, share) in enumerate(
            zip(self.ends_s, (STEADY_SHARE, OVERLOAD_FACTOR, STEADY_SHARE), strict=True)
        ):
            arrivals = Arrivals(share * self.capacity_rps, end_s - begun_s, seed=number)
            for start_s in arrivals.of_user(0):
                yield begun_s + start_s
            begun_s = end_s


def run(rig: Rig) -> dict[str, Any]:
    """Measure capacity, then steady load, three times the capacity, and steady load again."""
    bundle = rig.bundle
    user_ids, _ = rig.users(bundle, HISTORY_LENGTH)
    bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
    with rig.service(bundle) as child:
        check_answers(child.address, bodies)
        server = MeasuredServer.asked(child, bodies, expect_items(K))
        memory = MemoryWatch(split_processes(child)[0] if sys.platform == "linux" else [])
        cpu = CpuWatch(lambda: child.cpu_s)
        with rig.measuring():
            capacity_rps = measure_capacity(rig, server)
            phases = Phases(capacity_rps, rig.plan.steady_s, rig.plan.overload_s)
            print_line(
                f"  {capacity_rps:.0f} rps is the capacity; {OVERLOAD_FACTOR:g} times as much "
                f"for {phases.overload_s:g} s"
            )
            with memory, cpu, Load(child.address, N_CONNECTIONS) as load:
                sample = load.keep_pace(
                    server.requests,
                    phases.starts_s(),
                    expect_items_or_rejection(K),
                    give_up_s=GIVE_UP_S,
                )
    for fault, count in sample.faults.items():
        print_line(f"  {count} × {fault}")
    figures = summarise(phases, sample)
    add_cpu_shares(figures, phases, sample, cpu)
    if rss := memory.summary():
        figures["rss"] = rss
    return {"overload": figures, "failed": server.n_failed + sample.n_failed}


def measure_capacity(rig: Rig, server: MeasuredServer) -> float:
    """Median throughput of some saturated stretches, answers/s."""
    server.warm_up(rig.plan.n_connections, rig.plan.warm_up_s)
    for _ in range(3):
        server.saturate(rig.plan.n_connections, rig.plan.saturated_s)
    return statistics.median(server.rps)


def summarise(phases: Phases, sample: Sample) -> dict[str, Any]:
    """Figures by phase and answer; latencies count from intended starts unless named otherwise."""
    steady_end_s, over_end_s, _ = phases.ends_s
    starts_s, statuses = sample.starts_s, np.asarray(sample.statuses)
    lead_s = LEAD_SHARE * phases.steady_s
    before = (starts_s >= lead_s) & (starts_s < steady_end_s)
    during = (starts_s >= steady_end_s) & (starts_s < over_end_s)
    after = starts_s >= over_end_s
    connected = sample.had_connection
    accepted, rejected = during & (statuses == 200), during & (statuses == REJECTED)
    n_due = int(during.sum()) + sample.n_given_up
    steady = percentiles_ms(sample.latencies_ms[before])
    figures: dict[str, Any] = {
        "capacity_rps": round(phases.capacity_rps, 1),
        "offered_rps": round(n_due / phases.overload_s, 1),
        "duration_s": phases.overload_s,
        "connections": N_CONNECTIONS,
        "steady": steady | {"rps": round(int(before.sum()) / (steady_end_s - lead_s), 1)},
        "accepted": _describe_answers(sample, accepted, n_due, phases.overload_s),
        "rejected": _describe_answers(sample, rejected, n_due, phases.overload_s),
        # The client's own part: requests that it could not send, or not in time.
        "unsent": sample.n_given_up,
        "late_ms": percentiles_ms(sample.lateness_ms[during & connected]),
        "found_no_connection": int((during & ~connected).sum()),
        "wait_for_connection": percentiles_ms(sample.lateness_ms[during & ~connected]),
        "client_cpu_share": round(sample.client_cpu_share, 3),
        "rejected_before": int(((statuses == REJECTED) & (starts_s < steady_end_s)).sum()),
        "rejected_after": int(((statuses == REJECTED) & after).sum()),
        "failed": sample.n_failed,
        "recovery": _describe_recovery(sample, after, over_end_s),
    }
    p99_ms, steady_ms = figures["accepted"]["p99_ms"], steady["p99_ms"]
    if p99_ms is not None and steady_ms:
        figures["p99_to_steady"] = round(p99_ms / steady_ms, 2)
    return figures


def _describe_answers(
    sample: Sample, chosen: npt.NDArray[np.bool_], n_due: int, duration_s: float
) -> dict[str, Any]:
    n = int(chosen.sum())
    from_sending = percentiles_ms(sample.services_ms[chosen])
    return {
        "rps": round(n / duration_s, 1),
        "share": round(n / n_due, 4) if n_due else None,
        **percentiles_ms(sample.latencies_ms[chosen]),
        "from_sending": from_sending,
    }


def _describe_recovery(
    sample: Sample, after: npt.NDArray[np.bool_], over_end_s: float
) -> dict[str, Any]:
    """The tail in each second after the overload; it should be the steady one at once."""
    latencies_ms, second = sample.latencies_ms[after], sample.starts_s[after] - over_end_s
    return {
        **percentiles_ms(latencies_ms),
        "p99_ms_by_second": [
            percentiles_ms(latencies_ms[second.astype(int) == number])["p99_ms"]
            for number in range(int(second.max()) + 1 if len(second) else 0)
        ],
    }


def add_cpu_shares(figures: dict[str, Any], phases: Phases, sample: Sample, cpu: CpuWatch) -> None:
    """How much of a core the service took, steady and in each second after the overload.

    A tail that grows while the core is busy all the time is a queue; otherwise it is something
    else. Nothing is added where CPU time isn't known.
    """
    steady_end_s, over_end_s, end_s = phases.ends_s
    if not cpu.seen:
        return
    steady_s = (sample.begun_s + LEAD_SHARE * steady_end_s, sample.begun_s + steady_end_s)
    figures["steady"]["cpu_share"] = cpu.shares(steady_s)[0]
    seconds_s = sample.begun_s + over_end_s + np.arange(int(end_s - over_end_s) + 1)
    figures["recovery"]["cpu_share_by_second"] = cpu.shares(seconds_s.tolist())


def describe(figures: dict[str, Any]) -> list[str]:
    """The lines a person reads."""
    found = figures["overload"]
    lines = [
        (
            f"capacity {found['capacity_rps']:.0f} rps; offered {found['offered_rps']:.0f} rps for "
            f"{found['duration_s']:g} s over {found['connections']} connections"
        )
    ]
    for name in ("steady", "accepted", "rejected", "recovery"):
        part = found[name]
        share = f"  {part['share']:.1%} of all" if part.get("share") is not None else ""
        if "from_sending" in part:
            share += f"  from sending p99 {format_ms(part['from_sending']['p99_ms'], 2)} ms"
        lines.append(
            f"  {name:<9} p50 {format_ms(part['p50_ms'], 2):>7}  "
            f"p99 {format_ms(part['p99_ms'], 2):>7} ms{share}"
        )
    by_second = [format_ms(value, 1) for value in found["recovery"]["p99_ms_by_second"][:5]]
    lines.append(f"  p99 of each second after it: {' '.join(by_second)} ms")
    if shares := found["recovery"].get("cpu_share_by_second"):
        busy = " ".join(f"{share:.0%}" for share in shares[:5])
        lines.append(f"  core busy {found['steady']['cpu_share']:.0%} before it, then {busy}")
    if rss := found.get("rss"):
        lines.append(
            f"  rss {rss['start_bytes'] / 1e6:.1f} MB at the start, {rss['end_bytes'] / 1e6:.1f} "
            f"at the end, {rss['max_bytes'] / 1e6:.1f} at most"
        )
    lines.append(
        f"  client: sent p99 {format_ms(found['late_ms']['p99_ms'], 2)} ms late; "
        f"{found['found_no_connection']} found no free connection, {found['unsent']} for so long "
        f"that they were never sent; {found['client_cpu_share']:.0%} busy on average"
    )
    return lines
