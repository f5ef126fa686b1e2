"""Two versions are activated alternately while requests keep coming."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote

from loadtest.api import ask
from loadtest.bench.bundles import BundleFiles
from loadtest.bench.measured_server import (
    MeasuredServer,
    expect_items,
    expect_items_or_rejection,
)
from loadtest.bench.overload import (
    LEAD_SHARE,
    STEADY_CONNECTIONS,
    STEADY_SHARE,
    measure_capacity,
)
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import MAIN_ITEMS, Rig, check_answers, print_line
from loadtest.bench.swap_figures import describe_swaps, summarise
from loadtest.bench.watch import Timetable
from loadtest.client import Load, Sample
from loadtest.errors import TargetError
from loadtest.pacing import Arrivals
from loadtest.target import Address

LONGEST = 10  # times as long as planned a load lasts where activations take so long


def run(rig: Rig) -> dict[str, Any]:
    """Activate two versions of one size alternately at 70 % of the capacity."""
    bundles = [rig.synthetic.get(MAIN_ITEMS, knowledge=knows) for knows in (True, False)]
    token = secrets.token_urlsafe(18)
    environment = {"LONGTAIL_ADMIN_TOKEN": token}
    # Serving a bundle publishes it, and the folders are shared: afterwards both are there.
    with rig.service(bundles[1], store="swap", environment=environment):
        pass
    with rig.service(bundles[0], store="swap", environment=environment) as child:
        user_ids, _ = rig.users(bundles[0], HISTORY_LENGTH)
        bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
        check_answers(child.address, bodies)
        server = MeasuredServer.asked(child, bodies, expect_items(K))
        with rig.measuring():
            rate_rps = STEADY_SHARE * measure_capacity(rig, server)
            print_line(f"  {rig.plan.n_swaps} swaps at {rate_rps:.0f} rps")
            swaps, sample = _swap_under_load(rig, server, bundles, token, rate_rps)
    for fault in [*swaps.faults, *(f"{n} × {fault}" for fault, n in sample.faults.items())]:
        print_line(f"  {fault}")
    failed = server.n_failed + sample.n_failed + len(swaps.faults)
    lead_s = LEAD_SHARE * rig.plan.steady_s
    return {"swap": summarise(swaps, sample, rate_rps, lead_s), "failed": failed}


def _swap_under_load(
    rig: Rig, server: MeasuredServer, bundles: list[Path], token: str, rate_rps: float
) -> tuple[Timetable, Sample]:
    versions = [BundleFiles(bundle).version for bundle in reversed(bundles)]
    address = server.child.address

    def activate(number: int) -> str | None:
        return activate_version(address, versions[number % 2], token)

    steady_s, n = rig.plan.steady_s, rig.plan.n_swaps
    times_s = [steady_s * (number + 1) for number in range(n)]
    planned_s = steady_s * (n + 1)
    arrivals = Arrivals(rate_rps, LONGEST * planned_s)
    with (
        Load(address, STEADY_CONNECTIONS) as load,
        Timetable(times_s, activate) as swaps,
    ):
        # A shared machine can be overloaded by 70 % of its capacity of a second ago. A proper 429
        # is then not lost by a swap, and is counted separately.
        starts = swaps.until_done(arrivals.of_user(0), planned_s)
        sample = load.keep_pace(server.requests, starts, expect_items_or_rejection(K))
    return swaps, sample


def activate_version(
    address: Address, version: str, token: str, *, model: str | None = None
) -> str | None:
    """Activate a version; None when it serves now, else the answer as one line.

    `model` is the name under which requests ask for it; without one it answers all others.
    """
    path = f"/admin/models/{quote(version, safe='')}/activate"
    if model is not None:
        path += f"?model={quote(model, safe='')}"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        status, answer = ask(address, "POST", path, headers=headers, timeout_s=120.0)
    except TargetError as error:
        return str(error)
    return None if status == 200 else f"POST {path} answers {status}: {answer}"


def describe(figures: dict[str, Any]) -> list[str]:
    """The lines a person reads."""
    return describe_swaps(figures["swap"])
