"""What it costs to keep every answer for the archive: two services under load at the same time.

Both share a core and answer the same requests, one keeps its answers. So whatever changes the
machine's speed falls on both in the same millisecond, and ratios of CPU times differ by less than a
hundredth from round to round. One after another, they would differ by a tenth.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from loadtest.bench.figures import format_interval, median_ratio_of
from loadtest.bench.measured_server import MeasuredServer, expect_items
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import MAIN_ITEMS, Rig, check_answers, print_line
from loadtest.errors import TargetError

CONNECTIONS = (1, 8, 32)  # of each service
WRITTEN_S = 1.3  # until what waits is in the store, which is a part of the cost


def run(rig: Rig) -> dict[str, Any]:
    """CPU time of a request, of the service and its store, with all exposures and with none."""
    bundle = rig.synthetic.get(MAIN_ITEMS)
    with (
        rig.service(bundle, name="plain", environment={"LONGTAIL_EXPOSURE_SHARE": "0"}) as plain,
        rig.service(
            bundle, name="keeping", environment={"LONGTAIL_EXPOSURE_SHARE": "1"}
        ) as keeping,
    ):
        user_ids, _ = rig.users(bundle, HISTORY_LENGTH)
        bodies = [{"user_id": user_id, "k": K} for user_id in user_ids]
        servers = []
        for child in (plain, keeping):
            check_answers(child.address, bodies)
            servers.append(MeasuredServer.asked(child, bodies, expect_items(K)))
        with rig.measuring():
            for server in servers:
                server.warm_up(rig.plan.n_connections, rig.plan.warm_up_s)
            found = {str(n): _measure(rig, servers, n) for n in CONNECTIONS}
    failed = sum(server.n_failed for server in servers)
    return {"exposures": found, "failed": failed}


def _measure(rig: Rig, servers: Sequence[MeasuredServer], n_connections: int) -> dict[str, Any]:
    rounds = [
        _measure_together(servers, n_connections, rig.plan.together_s)
        for _ in range(rig.plan.together_rounds)
    ]
    plain_us, keeping_us = zip(*rounds, strict=True)
    ratio, interval = median_ratio_of(keeping_us, plain_us)
    print_line(f"  {n_connections} connections: {ratio:.3f} times the CPU time")
    return {
        "plain_cpu_us": round(statistics.median(plain_us), 1),
        "keeping_cpu_us": round(statistics.median(keeping_us), 1),
        "cpu_ratio": ratio,
        "cpu_ratio_interval": interval,
        "rounds": len(rounds),
    }


def _measure_together(
    servers: Sequence[MeasuredServer], n_connections: int, duration_s: float
) -> list[float]:
    """Microseconds of CPU time a request, of each service under load at the same time.

    Raises:
        TargetError: this machine doesn't tell a process's CPU time, or all requests failed.
    """
    before = [(server.child.cpu_s, server.n_sent - server.n_failed) for server in servers]
    with ThreadPoolExecutor(len(servers)) as threads:
        for done in [
            threads.submit(server.warm_up, n_connections, duration_s) for server in servers
        ]:
            done.result()
    time.sleep(WRITTEN_S)
    found = []
    for server, (cpu_s, n_before) in zip(servers, before, strict=True):
        after_s, n_good = server.child.cpu_s, server.n_sent - server.n_failed - n_before
        if cpu_s is None or after_s is None or n_good == 0:
            raise TargetError(f"{server.child.name}: no CPU time of {n_good} requests")
        found.append((after_s - cpu_s) / n_good * 1e6)
    return found


def describe(figures: dict[str, Any]) -> list[str]:
    """The lines a person reads."""
    lines = ["all exposures kept against none, both services under load at the same time:"]
    for n_connections, found in figures["exposures"].items():
        lines.append(
            f"  {n_connections:>2} connections each: {found['keeping_cpu_us']:.0f} against "
            f"{found['plain_cpu_us']:.0f} µs of CPU a request, {found['cpu_ratio']:.3f} times "
            f"({format_interval(found['cpu_ratio_interval'])})"
        )
    return lines
