"""The equipment of all sections: cores, servers, users, and alternating rounds."""

from __future__ import annotations

import gc
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.answers import find_recommend_fault
from loadtest.api import ask
from loadtest.bench.bundles import SyntheticBundles
from loadtest.bench.measured_server import MeasuredServer
from loadtest.bench.plan import K, Plan
from loadtest.children import START_TIMEOUT_S, Child, pinned_to
from loadtest.errors import TargetError
from loadtest.hardware import ROOT, usable_cores
from loadtest.target import Address
from loadtest.workload import find_users_by_length

MAIN_ITEMS = 3_700  # of the synthetic bundle, which is measured where none is given
LENGTH_TOLERANCE = 0.1  # users' stored histories are as long as wanted within this share
FEWEST_USERS = 50  # unless there are fewer than so many
START_S_PER_ITEM = 60e-6  # a large catalogue takes minutes to be checked and published

# Saturate with requests that take long: large batches, large catalogues.
COSTLY_CONNECTIONS = 4


@dataclass
class Rig:
    """One benchmark's equipment.

    `folder` is its own and is removed at its end; `demo` is where `make demo` leaves its bundle.
    """

    plan: Plan
    folder: Path
    given: Path | None = None
    demo: Path = ROOT / "builds" / "demo" / "bundle"
    synthetic: SyntheticBundles = field(default_factory=SyntheticBundles)

    def __post_init__(self) -> None:
        self.server_core, self.client_core = choose_cores()
        self._n_services = 0

    @property
    def bundle(self) -> Path:
        """The bundle of the main comparison: the given one, else a synthetic one."""
        return self.given or self.synthetic.get(MAIN_ITEMS)

    def echo(self) -> Child:
        """The baseline, on the servers' core."""
        return Child("echo", python("loadtest.echo"), core=self.server_core)

    def service(
        self,
        bundle: Path,
        *,
        name: str = "recommend",
        n_items: int = 0,
        workers: int = 1,
        pinned: bool = True,
        core: int | None = None,
        store: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """The service with a bundle, in folders of its own, on the servers' core or the given one.

        A benchmark changes nobody's data. Services with the same `store` name share their folders.
        """
        self._n_services += 1
        home = self.folder / (store or f"{name}-{self._n_services}")
        command = [*longtail(), "serve", "--bundle", str(bundle.absolute()), "--port", "{port}"]
        return Child(
            name,
            [*command, "--workers", str(workers)],
            core=core if core is not None else self.server_core if pinned else None,
            environment={
                "LONGTAIL_STORE_DIR": str(home / "store"),
                "LONGTAIL_BUNDLES_DIR": str(home / "bundles"),
                "LONGTAIL_REDIS_URL": "",
                **(environment or {}),
            },
            start_timeout_s=START_TIMEOUT_S + START_S_PER_ITEM * n_items,
        )

    def users(self, bundle: Path, length: int) -> tuple[list[str], float]:
        """Users with stored histories of about a length, and the lengths' median.

        Many of them, so that caches of recent users help as little as in production.
        """
        user_ids, lengths = find_users_by_length(bundle, length, self.plan.n_users)
        fitting = sum(abs(found - length) <= LENGTH_TOLERANCE * length for found in lengths)
        n = max(fitting, FEWEST_USERS)
        return user_ids[:n], statistics.median(lengths[:n])

    @contextmanager
    def measuring(self, *, pinned: bool = True) -> Iterator[None]:
        """Run the client on its core, without garbage collection, whose pauses would look like the
        service's. Garbage is collected before.
        """
        gc.collect()
        gc.disable()
        try:
            with pinned_to(self.client_core if pinned else None):
                yield
        finally:
            gc.enable()

    def alternate(
        self, servers: Sequence[MeasuredServer], rounds: int, n_connections: int | None = None
    ) -> None:
        """Warm all up, then rounds of saturated load and of one connection, alternating.

        The order is reversed from round to round, so that other load on the machine falls on all.
        Requests that cost many milliseconds saturate a service from few connections; from more
        they would be an overload, and get 429s.
        """
        n_connections = n_connections or self.plan.n_connections
        for server in servers:
            server.warm_up(n_connections, self.plan.warm_up_s)
        for number in range(rounds):
            for server in servers if number % 2 == 0 else reversed(servers):
                server.saturate(n_connections, self.plan.saturated_s)
                server.ask_one_by_one(self.plan.single_s)
            found = ", ".join(f"{server.rps[-1]:.0f}" for server in servers)
            print_line(f"  round {number + 1} of {rounds}: {found} rps")


def choose_cores() -> tuple[int | None, int | None]:
    """A core for the servers and another for the client; None where there is only one."""
    cores = usable_cores()
    if len(cores) < 2 or not hasattr(os, "sched_setaffinity"):
        return None, None
    return cores[-1], cores[0]


def check_answers(address: Address, bodies: Sequence[dict[str, object]]) -> None:
    """Check some answers in full: they must be right, and from the model.

    Raises:
        TargetError: an answer breaks the contract, or isn't the model's own.
    """
    for body in bodies[:20]:
        status, answer = ask(address, "POST", "/recommend", body, timeout_s=30.0)
        k, user_id = int(str(body.get("k", K))), body.get("user_id")
        fault = find_recommend_fault(
            status, answer, k=k, user_id=None if user_id is None else str(user_id)
        )
        if fault is None and (answer["served_by"] != "model" or answer["degraded"]):
            fault = f"served_by {answer['served_by']}, degraded {answer['degraded']}"
        if fault is not None:
            raise TargetError(f"user {user_id}: {fault}")


def python(module: str) -> list[str]:
    """The command that serves a module of this package."""
    return [sys.executable, "-m", module, "--port", "{port}"]


def longtail() -> list[str]:
    """The installed command next to this Python, else the checkout's."""
    installed = Path(sys.executable).with_name("longtail")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "longtail"]


def print_line(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)
