"""The cost of knowledge at request time: one graph with an ID-only and with a knowledge table."""

from __future__ import annotations

from typing import Any

from loadtest.bench.figures import (
    HEADING,
    figures_of,
    format_interval,
    format_row,
    ratio_of,
    single_medians_ms,
)
from loadtest.bench.measured_server import MeasuredServer, expect_items
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import MAIN_ITEMS, Rig, check_answers


def run(rig: Rig) -> dict[str, Any]:
    """Alternate two services of one size; the overhead is the ratio of CPU times.

    Where the system doesn't tell CPU times, it is the ratio of throughputs.
    """
    bundles = {
        "id_only": rig.synthetic.get(MAIN_ITEMS, knowledge=False),
        "knowledge": rig.synthetic.get(MAIN_ITEMS, knowledge=True),
    }
    with (
        rig.service(bundles["id_only"], name="id_only") as plain_child,
        rig.service(bundles["knowledge"], name="knowledge") as knowing_child,
    ):
        servers = []
        for child, bundle in zip((plain_child, knowing_child), bundles.values(), strict=True):
            user_ids, _ = rig.users(bundle, HISTORY_LENGTH)
            bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
            check_answers(child.address, bodies)
            servers.append(MeasuredServer.asked(child, bodies, expect_items(K)))
        with rig.measuring():
            rig.alternate(servers, rig.plan.rounds)
    plain, knowing = servers
    by_rps = ratio_of(plain.rps, knowing.rps)
    overhead = ratio_of(knowing.cpu_us, plain.cpu_us) if knowing.cpu_us else by_rps
    by_latency = ratio_of(single_medians_ms(knowing), single_medians_ms(plain))
    return {
        "knowledge_overhead": overhead[0],
        "knowledge": {
            "overhead_interval": overhead[1],
            "p50_ratio": by_latency[0],
            "p50_ratio_interval": by_latency[1],
            "rps_ratio": by_rps[0],
            "rps_ratio_interval": by_rps[1],
            "id_only": figures_of(plain),
            "knowledge": figures_of(knowing),
        },
        "failed": plain.n_failed + knowing.n_failed,
    }


def describe(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    found = figures["knowledge"]
    return [
        HEADING,
        format_row("ids only", found["id_only"]),
        format_row("with knowledge", found["knowledge"]),
        (
            f"CPU time with knowledge / without {figures['knowledge_overhead']:.3f} "
            f"({format_interval(found['overhead_interval'])}); "
            f"p50 {found['p50_ratio']:.3f} ({format_interval(found['p50_ratio_interval'])})"
        ),
    ]
