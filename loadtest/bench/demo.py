"""The bundle that `make demo` built: the default recipe's own throughput, with real histories.

The other sections measure synthetic bundles, whose model is small. Here it is the default's, and
every user of the data set is asked for, with the history that is stored.
"""

from __future__ import annotations

import statistics
from typing import Any

from loadtest.api import version_of, wait_until_ready
from loadtest.bench.figures import HEADING, figures_of, format_interval, format_row, ratio_of
from loadtest.bench.measured_server import MeasuredServer, expect_items
from loadtest.bench.plan import K
from loadtest.bench.rig import Rig, check_answers, print_line
from loadtest.workload import find_users_by_length, read_bundle_workload


def run(rig: Rig) -> dict[str, Any]:
    """Service and echo in rounds; or why there is nothing to measure."""
    if not (rig.demo / "manifest.json").exists():
        reason = f"no bundle in {rig.demo}; `make demo` builds it"
        print_line(f"  left out: {reason}")
        return {"demo": {"left_out": reason}, "failed": 0}
    user_ids = read_bundle_workload(rig.demo).user_ids
    _, lengths = find_users_by_length(rig.demo, 0, len(user_ids))
    bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
    with rig.echo() as echo_child, rig.service(rig.demo, name="demo") as service_child:
        version = version_of(wait_until_ready(service_child.address))
        check_answers(service_child.address, bodies)
        echo, service = (
            MeasuredServer.asked(child, bodies, expect_items(K))
            for child in (echo_child, service_child)
        )
        with rig.measuring():
            rig.alternate((echo, service), rig.plan.survey_rounds)
    ratio, interval = ratio_of(service.rps, echo.rps)
    found = {
        "echo": figures_of(echo),
        "recommend": figures_of(service),
        "ratio": ratio,
        "ratio_interval": interval,
        "n_users": len(user_ids),
        "history_length": statistics.median(lengths),
        "model_version": version,
    }
    return {"demo": found, "failed": echo.n_failed + service.n_failed}


def describe(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    found = figures["demo"]
    if "left_out" in found:
        return [f"left out: {found['left_out']}"]
    return [
        HEADING,
        format_row("echo", found["echo"]),
        format_row("recommend", found["recommend"]),
        (
            f"{found['n_users']} users, their median history {found['history_length']:g} items; "
            f"ratio {found['ratio']:.3f} ({format_interval(found['ratio_interval'])})"
        ),
    ]
