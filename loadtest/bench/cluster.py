"""A cluster of three primaries as the store against a single server, by CPU time of the service."""

from __future__ import annotations

from typing import Any

from loadtest.bench.figures import HEADING, figures_of, format_interval, format_row, ratio_of
from loadtest.bench.measured_server import MeasuredServer, expect_items
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import Rig, check_answers
from loadtest.store_servers import running_cluster, running_server

STORES = ("single", "cluster")


def run(rig: Rig) -> dict[str, Any]:
    """The same load on a service with either store, in rounds that alternate."""
    bundle = rig.bundle
    user_ids, _ = rig.users(bundle, HISTORY_LENGTH)
    bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
    folder = rig.folder / "stores"
    with running_server(folder) as one, running_cluster(folder) as several:
        first, second = (
            rig.service(bundle, name=name, environment={"LONGTAIL_REDIS_URL": url})
            for name, url in zip(STORES, (one, several), strict=True)
        )
        with first as single, second as cluster:
            for child in (single, cluster):
                check_answers(child.address, bodies)
            servers = [
                MeasuredServer.asked(child, bodies, expect_items(K)) for child in (single, cluster)
            ]
            with rig.measuring():
                rig.alternate(servers, rig.plan.rounds)
    return {"cluster": summarise(*servers), "failed": sum(one.n_failed for one in servers)}


def summarise(single: MeasuredServer, cluster: MeasuredServer) -> dict[str, Any]:
    """Figures with either store; CPU time with the cluster by that with the single server."""
    figures: dict[str, Any] = {
        name: figures_of(server) for name, server in zip(STORES, (single, cluster), strict=True)
    }
    if single.cpu_us and cluster.cpu_us:
        ratio, interval = ratio_of(cluster.cpu_us, single.cpu_us)
        figures |= {"cpu_ratio": ratio, "cpu_ratio_interval": interval}
    return figures


def describe(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    found = figures["cluster"]
    lines = [HEADING, *(format_row(name, found[name]) for name in STORES)]
    if "cpu_ratio" in found:
        interval = format_interval(found["cpu_ratio_interval"])
        lines.append(
            f"CPU time with a cluster by a single server's: {found['cpu_ratio']:.3f} ({interval})"
        )
    return lines
