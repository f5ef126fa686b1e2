"""A shadow answers a tenth of the requests too, in every other stretch of a steady load.

The other stretches ask under a name of the same version that has no shadow. So nothing but the
shadow's answers differs, stretches can be short, and a change of the machine's speed falls on both.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from loadtest.api import ask, ask_text
from loadtest.bench import swap
from loadtest.bench.bundles import BundleFiles
from loadtest.bench.figures import format_interval, format_ms, median_ratio_of, percentiles_ms
from loadtest.bench.measured_server import MeasuredServer, expect_items, expect_items_or_rejection
from loadtest.bench.overload import REJECTED, STEADY_CONNECTIONS, measure_capacity
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import MAIN_ITEMS, Rig, check_answers, print_line
from loadtest.client import Load, Sample
from loadtest.errors import TargetError
from loadtest.pacing import Arrivals
from loadtest.target import Address

SHARE = 10
LOAD_SHARE = 0.3
"""Of the capacity: a service that is busier drops nearly all of the shadow's requests."""
DEFAULT = "default"
UNSHADOWED = "unshadowed"
"""The name of the same version that has no shadow."""
PERCENTS = (90, 99)
PAUSE_S = 0.15  # after a stretch: what waits for the shadow is answered or dropped
N_COMPARED = 50  # users whose answers are compared
_COUNTED = re.compile(r'^longtail_shadow_total\{outcome="(\w+)"\} (\S+)$', re.MULTILINE)


def run(rig: Rig) -> dict[str, Any]:
    """Steady load with and without a shadow, alternating; the order is reversed in each round."""
    bundles = [rig.synthetic.get(MAIN_ITEMS, knowledge=knows) for knows in (True, False)]
    token = secrets.token_urlsafe(18)
    environment = {"LONGTAIL_ADMIN_TOKEN": token}
    # Serving a bundle publishes it, and the folders are shared: afterwards both are there.
    with rig.service(bundles[1], store="shadow", environment=environment):
        pass
    with rig.service(bundles[0], store="shadow", environment=environment) as child:
        user_ids, _ = rig.users(bundles[0], HISTORY_LENGTH)
        bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
        check_answers(child.address, bodies)
        version = BundleFiles(bundles[0]).version
        if fault := swap.activate_version(child.address, version, token, model=UNSHADOWED):
            raise TargetError(fault)
        shadow = _Shadow(child.address, BundleFiles(bundles[1]).version, token)
        servers = {
            is_on: MeasuredServer.asked(
                child, [{**body, "model": name} for body in bodies], expect_items(K)
            )
            for is_on, name in ((False, UNSHADOWED), (True, DEFAULT))
        }
        with rig.measuring():
            rate_rps = LOAD_SHARE * measure_capacity(rig, servers[False])
            print_line(f"  {rig.plan.shadow_rounds} rounds at {rate_rps:.0f} rps")
            shadow.set(True)
            samples = _alternate(rig, servers, rate_rps)
            shadow.set(False)
        n_changed = _count_changed(child.address, bodies, shadow)
        outcomes = shadow.outcomes()
    figures = summarise(samples[False], samples[True], rate_rps)
    failed = sum(server.n_failed for server in servers.values())
    failed += sum(one.n_failed for both in samples.values() for one in both)
    figures |= {"changed_answers": n_changed, "outcomes": outcomes}
    return {"shadow": figures, "failed": failed + n_changed}


class _Shadow:
    """A version that is made the shadow and ended again."""

    def __init__(self, address: Address, version: str, token: str) -> None:
        self._address = address
        self._path = f"/admin/models/{quote(version, safe='')}/shadow"
        self._headers = {"Authorization": f"Bearer {token}"}

    def set(self, is_on: bool) -> None:
        """Make it the shadow, which takes its loading, or end that.

        Raises:
            TargetError: the service rejects it.
        """
        body = {"share": SHARE if is_on else 0}
        status, answer = ask(
            self._address, "POST", self._path, body, headers=self._headers, timeout_s=120.0
        )
        if status != 200:
            raise TargetError(f"POST {self._path} answers {status}: {answer}")

    def outcomes(self) -> dict[str, int]:
        """What became of the requests of its share."""
        _, text = ask_text(self._address, "GET", "/metrics")
        return {outcome: round(float(n)) for outcome, n in _COUNTED.findall(text)}


def _alternate(
    rig: Rig, servers: dict[bool, MeasuredServer], rate_rps: float
) -> dict[bool, list[Sample]]:
    samples: dict[bool, list[Sample]] = {False: [], True: []}
    expect = expect_items_or_rejection(K)
    for number in range(rig.plan.shadow_rounds):
        for is_on in (False, True) if number % 2 == 0 else (True, False):
            server = servers[is_on]
            starts = Arrivals(rate_rps, rig.plan.shadow_s, seed=number).of_user(0)
            with Load(server.child.address, STEADY_CONNECTIONS) as load:
                samples[is_on].append(load.keep_pace(server.requests, starts, expect))
            time.sleep(PAUSE_S)
    return samples


def _count_changed(address: Address, bodies: Sequence[dict[str, object]], shadow: _Shadow) -> int:
    """How many users have another answer with the shadow."""

    def answers() -> list[Any]:
        return [
            ask(address, "POST", "/recommend", body)[1]["items"] for body in bodies[:N_COMPARED]
        ]

    before = answers()
    shadow.set(True)
    after = answers()
    shadow.set(False)
    return sum(one != other for one, other in zip(before, after, strict=True))


def summarise(without: Sequence[Sample], shadowed: Sequence[Sample], rps: float) -> dict[str, Any]:
    """Latencies of both kinds of stretches, and the median of the rounds' ratios of p90 and p99."""
    figures: dict[str, Any] = {"rps": round(rps, 1), "share": SHARE, "rounds": len(without)}
    taken = [
        [one.latencies_ms[np.asarray(one.statuses) != REJECTED] for one in samples]
        for samples in (without, shadowed)
    ]
    for name, times in zip(("without", "shadowed"), taken, strict=True):
        figures[name] = percentiles_ms(np.concatenate(times)) | {"requests": sum(map(len, times))}
    for percent in PERCENTS:
        theirs, ours = ([float(np.percentile(one, percent)) for one in times] for times in taken)
        ratio, interval = median_ratio_of(ours, theirs)
        figures |= {f"p{percent}_ratio": ratio, f"p{percent}_ratio_interval": interval}
    return figures


def describe(figures: dict[str, Any]) -> list[str]:
    """The lines a person reads."""
    found = figures["shadow"]
    counted = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(found["outcomes"].items()))
    lines = [
        (
            f"a shadow of {found['share']} % at {found['rps']:.0f} rps, {found['rounds']} rounds: "
            f"{found['changed_answers']} changed answers; of its share {counted or 'nothing'}"
        )
    ]
    for percent in PERCENTS:
        interval = format_interval(found[f"p{percent}_ratio_interval"])
        ratio = found[f"p{percent}_ratio"]
        lines.append(f"  p{percent} of a round is {ratio:.3f} times that without ({interval})")
    for name in ("without", "shadowed"):
        times = [format_ms(found[name][f"{part}_ms"], 2) for part in ("p50", "p99", "p99_9")]
        lines.append(f"  {name:<8} p50 {times[0]}  p99 {times[1]}  p99.9 {times[2]} ms")
    return lines
