"""Several workers: throughput together, one copy of the table, metrics that add up."""

from __future__ import annotations

import re
import statistics
import sys
import time
from typing import Any

from loadtest.api import ask_text
from loadtest.bench.bundles import BundleFiles
from loadtest.bench.catalogue import split_processes
from loadtest.bench.measured_server import MeasuredServer, expect_items
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import Rig, check_answers, print_line
from loadtest.children import Child
from loadtest.errors import TargetError
from loadtest.memory import mapped_pss_bytes_of, pss_bytes_of, rss_bytes_of
from loadtest.target import Address

WORKERS = (1, 2)
SETTLING_S = 0.05
_ANSWERED = re.compile(
    r'^longtail_requests_total\{[^}]*route="/recommend"[^}]*\} (\S+)$', re.MULTILINE
)


def run(rig: Rig) -> dict[str, Any]:
    """Measure one worker and two, not pinned: client and servers share all cores."""
    n_items = rig.plan.largest_items
    if (reason := rig.synthetic.why_not(n_items)) is not None:
        print_line(f"  left out: {reason}")
        return {"workers": {"left_out": reason}, "failed": 0}
    files = BundleFiles(rig.synthetic.get(n_items, trained=True))
    user_ids, _ = rig.users(files.folder, HISTORY_LENGTH)
    bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
    found: dict[str, Any] = {"n_items": n_items, "table_bytes": files.table.nbytes}
    failed = 0
    for n in WORKERS:
        with rig.service(
            files.folder, name=f"{n}-workers", n_items=n_items, workers=n, pinned=False
        ) as child:
            check_answers(child.address, bodies)
            server = MeasuredServer.asked(child, bodies, expect_items(K))
            found[str(n)] = _measure(rig, server)
            print_line(f"  {n} worker{'s' * (n > 1)}: {found[str(n)]['rps']:.0f} rps")
        failed += server.n_failed + found[str(n)]["metrics_off_by"]
    return {"workers": found, "failed": failed}


def _measure(rig: Rig, server: MeasuredServer) -> dict[str, Any]:
    with rig.measuring(pinned=False):
        server.warm_up(rig.plan.n_connections, rig.plan.warm_up_s)
        counted = count_in_metrics(server.child.address)
        sent = server.n_sent
        for _ in range(rig.plan.survey_rounds):
            server.saturate(rig.plan.n_connections, rig.plan.saturated_s)
    n_sent = server.n_sent - sent
    n_counted = count_in_metrics(server.child.address) - counted
    return {
        "rps": round(statistics.median(server.rps), 1),
        "client_cpu_share": round(max(server.client_cpu_shares), 3),
        "requests_sent": n_sent,
        "requests_in_metrics": n_counted,
        "metrics_off_by": abs(n_counted - n_sent),
        **memory_of_workers(server.child),
    }


def memory_of_workers(child: Child) -> dict[str, int]:
    """Memory of all processes of the service together; `table_pss_bytes` is the item table's part.

    Where workers share one copy, the PSS of the table is no more than its size for any number of
    workers, and the PSS of all grows by each worker's private memory only.
    """
    if sys.platform != "linux":
        return {}
    own, _ = split_processes(child)
    return {
        "processes": len(own),
        "rss_bytes": rss_bytes_of(own),
        "pss_bytes": pss_bytes_of(own),
        "table_pss_bytes": mapped_pss_bytes_of(own, "item_table.npy"),
    }


def count_in_metrics(address: Address) -> int:
    """Answers to `POST /recommend` that `GET /metrics` has counted, of all workers.

    An answer is counted just after it is sent, perhaps after its caller has it: the count is read
    until it no longer changes.

    Raises:
        TargetError: there are no such metrics.
    """
    counted, before = _read_count(address), -1
    while counted != before:
        time.sleep(SETTLING_S)
        counted, before = _read_count(address), counted
    return counted


def _read_count(address: Address) -> int:
    status, text = ask_text(address, "GET", "/metrics")
    counts = _ANSWERED.findall(text)
    if status != 200 or not counts:
        raise TargetError(f"{address.url}: GET /metrics answers {status} and counts no requests")
    return round(sum(map(float, counts)))


def describe(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    found = figures["workers"]
    if "left_out" in found:
        return [f"left out: {found['left_out']}"]
    lines = [
        (
            f"{found['n_items']:,} items, a table of {found['table_bytes'] / 1e6:.1f} MB; "
            "client and servers share all cores"
        )
    ]
    for n in map(str, WORKERS):
        part = found[n]
        memory = (
            f"  rss {part['rss_bytes'] / 1e6:.0f} MB, pss {part['pss_bytes'] / 1e6:.0f} MB, "
            f"of the table {part['table_pss_bytes'] / 1e6:.1f} MB"
            if "rss_bytes" in part
            else ""
        )
        lines.append(
            f"  {n} worker{'s' * (n != '1'):<1}  {part['rps']:.0f} rps{memory}  metrics count "
            f"{part['requests_in_metrics']} of {part['requests_sent']} requests"
        )
    return lines
