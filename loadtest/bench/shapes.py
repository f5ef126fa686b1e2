"""How cost grows with the history's length, with k, and with the number of requests in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.bench.figures import HEADING, figures_of, format_row
from loadtest.bench.measured_server import MeasuredServer, expect_items
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import COSTLY_CONNECTIONS, Rig, check_answers
from loadtest.children import Child

LENGTHS = (5, 20, 50, 200)
KS = (10, 100)
BATCHES = (1, 8, 32, 128)


def run_lengths(rig: Rig) -> dict[str, Any]:
    """Stored histories of several lengths."""
    bundle = rig.bundle
    medians = {}
    with rig.service(bundle) as child:
        servers = {}
        for length in LENGTHS:
            user_ids, medians[str(length)] = rig.users(bundle, length)
            bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
            check_answers(child.address, bodies)
            servers[str(length)] = MeasuredServer.asked(child, bodies, expect_items(K))
        found = _measure(rig, servers)
    for name, median in medians.items():
        found[name]["median_length"] = median
    return {"lengths": found, "failed": _failures(servers)}


def run_ks(rig: Rig) -> dict[str, Any]:
    """Several values of k."""
    bundle = rig.bundle
    user_ids, _ = rig.users(bundle, HISTORY_LENGTH)
    with rig.service(bundle) as child:
        servers = {
            str(k): MeasuredServer.asked(
                child, [{"user_id": user_id, "k": k} for user_id in user_ids], expect_items(k)
            )
            for k in KS
        }
        return {"ks": _measure(rig, servers), "failed": _failures(servers)}


def run_batches(rig: Rig) -> dict[str, Any]:
    """`POST /recommend/batch` with several numbers of requests; `rps` counts batches."""
    bundle = rig.bundle
    user_ids, _ = rig.users(bundle, HISTORY_LENGTH)
    with rig.service(bundle) as child:
        servers = {str(size): _batched(child, user_ids, size) for size in BATCHES}
        found = _measure(rig, servers, COSTLY_CONNECTIONS)
    for size, figures in found.items():
        figures["users_per_s"] = round(figures["rps"] * int(size), 1)
    return {"batches": found, "failed": _failures(servers)}


def _batched(child: Child, user_ids: list[str], size: int) -> MeasuredServer:
    # Windows over the users, wrapping around, so that batches differ.
    bodies = [
        {
            "requests": [
                {"user_id": user_ids[(start + at) % len(user_ids)], "k": K} for at in range(size)
            ]
        }
        for start in range(0, len(user_ids), max(1, size // 4))
    ]
    return MeasuredServer.asked(child, bodies, expect_items(size * K), path="/recommend/batch")


def _measure(
    rig: Rig, servers: Mapping[str, MeasuredServer], n_connections: int | None = None
) -> dict[str, Any]:
    with rig.measuring():
        rig.alternate(list(servers.values()), rig.plan.survey_rounds, n_connections)
    return {name: figures_of(server) for name, server in servers.items()}


def _failures(servers: Mapping[str, MeasuredServer]) -> int:
    return sum(server.n_failed for server in servers.values())


def describe_lengths(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    rows = figures["lengths"].items()
    return [HEADING, *(format_row(f"history of {length}", found) for length, found in rows)]


def describe_ks(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    return [HEADING, *(format_row(f"k {k}", found) for k, found in figures["ks"].items())]


def describe_batches(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    rows = figures["batches"].items()
    return [
        HEADING,
        *(
            f"{format_row(f'batch of {size}', found)}{found['users_per_s']:>10.0f} users/s"
            for size, found in rows
        ),
    ]
