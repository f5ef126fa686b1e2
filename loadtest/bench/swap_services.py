"""Several workers on one store; versions are activated alternately under load.

They are one service's or those of two. Each of two stands for a machine of one core, and has its
own where there are as many. On a common core Linux divides it among services before it looks at
priorities, and one's load would hold up the other. Every answer is compared with what its version
answers its user, so that none can mix two versions.
"""

from __future__ import annotations

import json
import secrets
import statistics
import sys
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from loadtest.api import ask
from loadtest.bench import swap
from loadtest.bench.bundles import BundleFiles
from loadtest.bench.catalogue import split_processes
from loadtest.bench.overload import REJECTED, STEADY_CONNECTIONS
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import MAIN_ITEMS, Rig, check_answers, print_line
from loadtest.bench.swap_figures import describe_swaps, summarise
from loadtest.bench.swap_memory import SETTLED
from loadtest.bench.watch import Timetable
from loadtest.children import Child
from loadtest.client import Load, Sample, encode_post
from loadtest.errors import TargetError
from loadtest.hardware import usable_cores
from loadtest.memory import rss_bytes_of
from loadtest.pacing import Arrivals
from loadtest.store_servers import running_server
from loadtest.target import Address

RATE_SHARE = 0.5  # of the capacity
EVERY_SHARE = 0.3  # of a plan's steady load: every four and a half seconds in a full one
N_USERS = 200
PAUSE_S = 0.2  # before each swap

Key = tuple[str, str]


@dataclass(frozen=True)
class Form:
    """Services on one store, and the workers of each."""

    n_services: int
    n_workers: int

    @property
    def name(self) -> str:
        """As a person would say it."""
        services, workers = (
            f"{n} {noun}{'s' if n > 1 else ''}"
            for n, noun in ((self.n_services, "service"), (self.n_workers, "worker"))
        )
        return f"{services} of {workers}"

    def cores(self) -> list[int | None]:
        """The core of each service; None: all of them."""
        cores = usable_cores()
        has_own = 1 < self.n_services <= len(cores)
        return [cores[n] if has_own else None for n in range(self.n_services)]


FORMS = (Form(1, 2), Form(2, 1), Form(2, 2))


@dataclass
class Answers:
    """What each version answers each user, and when each version answered under load.

    Attributes:
        expected: item ids by user and version.
        seen: seconds of perf_counter with the version that answered, in order of the answers.
    """

    expected: dict[Key, list[str]] = field(default_factory=dict)
    seen: list[tuple[float, str]] = field(default_factory=list)

    def learn(self, address: Address, bodies: Sequence[dict[str, object]], version: str) -> None:
        """Ask for all users while one version answers.

        Raises:
            TargetError: another one answers.
        """
        for body in bodies:
            _, answer = ask(address, "POST", "/recommend", body, timeout_s=30.0)
            if answer.get("model_version") != version:
                raise TargetError(f"{answer.get('model_version')} answers instead of {version}")
            self.expected[str(body["user_id"]), version] = _items(answer)

    def find_fault(self, status: int, head: bytes, body: bytes) -> str | None:
        """A `FaultFinder`: the answer is exactly that of the version which it names."""
        if status != 200:
            is_proper = status == REJECTED and b"\r\nretry-after:" in head.lower()
            return None if is_proper else f"status {status}"
        answer = json.loads(body)
        version = str(answer["model_version"])
        self.seen.append((time.perf_counter(), version))
        expected = self.expected.get((str(answer["user_id"]), version))
        return None if _items(answer) == expected else f"other items than those of {version}"

    def apart_s(self, begun_s: Sequence[float], versions: Sequence[str]) -> list[float]:
        """For each activation, how long the old version still answered beside the new one.

        Args:
            begun_s: when each activation was asked for, seconds of perf_counter.
            versions: which one each activated.
        """
        times_s = [at_s for at_s, _ in self.seen]
        edges = [*(bisect_left(times_s, at_s) for at_s in begun_s), len(times_s)]
        apart = []
        for (start, end), new in zip(pairwise(edges), versions, strict=True):
            window = self.seen[start:end]
            first_s = next((at_s for at_s, version in window if version == new), None)
            if first_s is not None:
                last_s = max((at_s for at_s, version in window if version != new), default=0.0)
                apart.append(max(0.0, last_s - first_s))
        return apart


class CpuUse:
    """The share of some cores' time that services use from now on.

    Args:
        services: all of them.
        n_cores: that they run on.
    """

    def __init__(self, services: Sequence[Child], n_cores: int) -> None:
        self._services, self._n_cores = services, n_cores
        self._begun_s, self._cpu_s = time.perf_counter(), self._used_s()

    @property
    def share(self) -> float | None:
        """Until now; None where the system doesn't tell."""
        now_s = self._used_s()
        if now_s is None or self._cpu_s is None:
            return None
        elapsed_s = time.perf_counter() - self._begun_s
        return round((now_s - self._cpu_s) / elapsed_s / self._n_cores, 3)

    def _used_s(self) -> float | None:
        times = [service.cpu_s for service in self._services]
        return None if None in times else sum(filter(None, times))


def _items(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def run(rig: Rig, form: Form) -> dict[str, Any]:
    """Swap versions again and again at half of the services' capacity."""
    bundles = [rig.synthetic.get(MAIN_ITEMS, knowledge=knows) for knows in (True, False)]
    versions = [BundleFiles(bundle).version for bundle in bundles]
    token = secrets.token_urlsafe(18)
    user_ids, _ = rig.users(bundles[0], HISTORY_LENGTH)
    bodies: list[dict[str, object]] = [{"user_id": u, "k": K} for u in user_ids[:N_USERS]]
    store = f"swap-services-{form.n_services}-{form.n_workers}"
    with ExitStack() as stack:
        url = stack.enter_context(running_server(rig.folder / store))
        environment = {"LONGTAIL_ADMIN_TOKEN": token, "LONGTAIL_REDIS_URL": url}

        def service(bundle: Path, core: int | None = None) -> Child:
            return rig.service(
                bundle,
                store=store,
                workers=form.n_workers,
                pinned=False,
                core=core,
                environment=environment,
            )

        # Serving a bundle publishes it, and the folders are shared: afterwards both are there.
        with service(bundles[1]):
            pass
        children = [stack.enter_context(service(bundles[0], core)) for core in form.cores()]
        addresses = [child.address for child in children]
        for address in addresses:
            check_answers(address, bodies)
        answers = Answers()
        for version in (*versions, versions[0]):
            _activate(addresses[0], version, token)
            answers.learn(addresses[0], bodies, version)
        pids = [p for child in children for p in split_processes(child)[0]]
        requests = [encode_post(addresses[0], "/recommend", body) for body in bodies]
        with rig.measuring(pinned=False):
            capacity_rps = _capacity(rig, addresses, requests, answers)
            rate_rps = RATE_SHARE * capacity_rps
            print_line(f"  {rig.plan.n_memory_swaps} swaps at {rate_rps:.0f} rps")
            use = CpuUse(children, min(form.n_services * form.n_workers, len(usable_cores())))
            swaps, sample, begun_s, rss_bytes = _swap_under_load(
                rig, addresses, requests, answers, versions, token, rate_rps, pids
            )
            busy = use.share
    for fault in [*swaps.faults, *(f"{n} × {fault}" for fault, n in sample.faults.items())]:
        print_line(f"  {fault}")
    figures = summarise(swaps, sample, rate_rps)
    apart_s = answers.apart_s(begun_s, [_version_of(n, versions) for n in range(len(begun_s))])
    figures["capacity_rps"] = round(capacity_rps, 1)
    figures["busy"] = busy
    figures["requests"] = len(sample.latencies)
    figures["apart_ms"] = round(max(apart_s, default=0.0) * 1e3, 1)
    if rss_bytes:
        settled = rss_bytes[min(SETTLED, len(rss_bytes) - 1)]
        figures["rss_growth"] = round(rss_bytes[-1] / settled - 1, 4)
    return {"swap_services": {form.name: figures}, "failed": sample.n_failed + len(swaps.faults)}


def _activate(address: Address, version: str, token: str) -> None:
    if fault := swap.activate_version(address, version, token):
        raise TargetError(fault)


def _version_of(number: int, versions: Sequence[str]) -> str:
    """The version of an activation, counted from 0; the first of them answers before."""
    return versions[(number + 1) % len(versions)]


def _capacity(
    rig: Rig, addresses: Sequence[Address], requests: Sequence[bytes], answers: Answers
) -> float:
    rps = []
    for _ in range(3):
        with Load(addresses[0], rig.plan.n_connections, *addresses[1:]) as load:
            sample = load.saturate(requests, rig.plan.saturated_s, answers.find_fault)
        if sample.n_failed:
            raise TargetError(f"before the swaps: {next(iter(sample.faults))}")
        rps.append(sample.rps)
    answers.seen.clear()
    return statistics.median(rps)


def _swap_under_load(
    rig: Rig,
    addresses: Sequence[Address],
    requests: Sequence[bytes],
    answers: Answers,
    versions: Sequence[str],
    token: str,
    rate_rps: float,
    pids: list[int],
) -> tuple[Timetable, Sample, list[float], list[int]]:
    begun_s: list[float] = []
    rss_bytes: list[int] = []

    def activate(number: int) -> str | None:
        # Answers of the last swap's old version that are still under way would count for this one.
        time.sleep(PAUSE_S)
        begun_s.append(time.perf_counter())
        if sys.platform == "linux":
            rss_bytes.append(rss_bytes_of(pids))
        address = addresses[number % len(addresses)]
        return swap.activate_version(address, _version_of(number, versions), token)

    n, every_s = rig.plan.n_memory_swaps, EVERY_SHARE * rig.plan.steady_s
    times_s = [every_s * (number + 1) for number in range(n)]
    planned_s = every_s * (n + 2)
    arrivals = Arrivals(rate_rps, swap.LONGEST * planned_s)
    with (
        Load(addresses[0], STEADY_CONNECTIONS, *addresses[1:]) as load,
        Timetable(times_s, activate) as swaps,
    ):
        starts = swaps.until_done(arrivals.of_user(0), planned_s)
        sample = load.keep_pace(requests, starts, answers.find_fault)
    return swaps, sample, begun_s, rss_bytes


def describe(figures: dict[str, Any]) -> list[str]:
    """The lines a person reads."""
    [found] = figures["swap_services"].values()
    [first, *lines] = describe_swaps(found)
    growth = f", memory {found['rss_growth']:+.1%}" if "rss_growth" in found else ""
    busy = f"busy {found['busy']:.0%} of the time; " if found["busy"] is not None else ""
    last = (
        f"  {busy}{found['requests']:,} answers compared; "
        f"workers apart for at most {found['apart_ms']:.0f} ms{growth}"
    )
    return [first, *lines, last]
