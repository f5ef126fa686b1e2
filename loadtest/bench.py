"""The serving benchmark: the service against a bare FastAPI echo, in the same minute.

    python -m loadtest.bench [--quick] [--bundle FOLDER]

Both servers are pinned to the same core and the client to another; rounds alternate between them,
so that whatever else the machine does falls on both. Prints a table, and one JSON document as the
last line.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.answers import find_recommend_fault
from loadtest.api import ask, version_of, wait_until_ready
from loadtest.bench_figures import format_bench, summarise
from loadtest.children import Child, pinned_to
from loadtest.client import Load, encode_post
from loadtest.errors import LoadTestError, TargetError, WorkloadError
from loadtest.hardware import usable_cores
from loadtest.measured_server import MeasuredServer, expect_items
from loadtest.results import describe_circumstances
from loadtest.target import Address
from loadtest.workload import find_users_by_length

HISTORY_LENGTH = 50
K = 10
N_USERS = 50


@dataclass(frozen=True)
class Plan:
    """How long and how often to measure; seconds for each stretch of load."""

    rounds: int
    saturated_s: float
    single_s: float
    open_loop_s: float
    warm_up_s: float = 1.0
    n_connections: int = 32
    rates_rps: tuple[int, ...] = (100, 500, 1_000)


QUICK = Plan(rounds=3, saturated_s=1.5, single_s=1.5, open_loop_s=4.0, warm_up_s=0.5)
FULL = Plan(rounds=7, saturated_s=4.0, single_s=4.0, open_loop_s=20.0)


def run_bench(plan: Plan, bundle: Path) -> dict[str, Any]:
    """Start both servers, measure them in turns, end them; the figures, ready for JSON.

    Raises:
        LoadTestError: a server doesn't start, or doesn't answer as the contract says.
    """
    user_ids, lengths = find_users_by_length(bundle, HISTORY_LENGTH, N_USERS)
    server_core, client_core = choose_cores()
    ceiling_rps = measure_ceiling(server_core, client_core)
    _say(f"starting the echo, and the service with {bundle}")
    with (
        tempfile.TemporaryDirectory(prefix="longtail-bench-") as folder,
        Child("echo", _python("loadtest.echo"), core=server_core) as echo_child,
        # Folders of its own: a benchmark leaves nothing behind in anybody's data.
        Child(
            "recommend",
            [*_longtail(), "serve", "--bundle", str(bundle.absolute()), "--port", "{port}"],
            core=server_core,
            environment={
                "LONGTAIL_STORE_DIR": f"{folder}/store",
                "LONGTAIL_BUNDLES_DIR": f"{folder}/bundles",
                "LONGTAIL_REDIS_URL": "",
            },
        ) as service_child,
    ):
        version = version_of(wait_until_ready(service_child.address))
        check_answers(service_child.address, user_ids)
        echo, service = (_prepare(child, user_ids) for child in (echo_child, service_child))
        with pinned_to(client_core):
            measure_in_turns(plan, echo, service)
    return {
        **summarise(echo, service),
        "client_ceiling_rps": round(ceiling_rps),
        "rounds": plan.rounds,
        "connections": plan.n_connections,
        "k": K,
        "history_length": {
            "median": statistics.median(lengths),
            "min": min(lengths),
            "max": max(lengths),
        },
        "model_version": version,
        "pinned": server_core is not None,
        **describe_circumstances(),
    }


def choose_cores() -> tuple[int | None, int | None]:
    """A core for the servers and another for the client; None where that can't be had."""
    cores = usable_cores()
    if len(cores) < 2 or not hasattr(os, "sched_setaffinity"):
        return None, None
    return cores[-1], cores[0]


def measure_ceiling(server_core: int | None, client_core: int | None) -> float:
    """Requests that the client manages in a second of its own CPU time.

    Counted in CPU time, since even the cheapest server in Python is slower than the client.
    """
    with (
        Child("canned", _python("loadtest.canned"), core=server_core, ready_path=None) as child,
        pinned_to(client_core),
        Load(child.address, 32) as load,
    ):
        request = encode_post(child.address, "/", {"user_id": "0", "k": K})
        sample = load.saturate([request], 1.0, expect_items(10))
    return len(sample.latencies) / sample.client_cpu_s


def measure_in_turns(plan: Plan, echo: MeasuredServer, service: MeasuredServer) -> None:
    """All stretches of load; the order changes from round to round."""
    gc.disable()  # the client's own pauses are not the service's
    try:
        for server in (echo, service):
            server.warm_up(plan.n_connections, plan.warm_up_s)
        for number in range(plan.rounds):
            for server in (echo, service) if number % 2 == 0 else (service, echo):
                server.saturate(plan.n_connections, plan.saturated_s)
                server.ask_one_by_one(plan.single_s)
            _say(
                f"round {number + 1} of {plan.rounds}: echo {echo.rps[-1]:.0f} rps, "
                f"recommend {service.rps[-1]:.0f} rps"
            )
        for rate_rps in plan.rates_rps:
            _say(f"open loop, {rate_rps} rps for {plan.open_loop_s:g} s")
            service.keep_pace(rate_rps, plan.open_loop_s)
    finally:
        gc.enable()


def check_answers(address: Address, user_ids: Sequence[str]) -> None:
    """Check some answers in full: what is fast must also be right, and from the model.

    Raises:
        TargetError: an answer breaks the contract, or isn't the model's own.
    """
    for user_id in user_ids[:20]:
        status, answer = ask(address, "POST", "/recommend", {"user_id": user_id, "k": K})
        fault = find_recommend_fault(status, answer, k=K, user_id=user_id)
        if fault is None and (answer["served_by"] != "model" or answer["degraded"]):
            fault = f"served_by {answer['served_by']}, degraded {answer['degraded']}"
        if fault is not None:
            raise TargetError(f"user {user_id}: {fault}")


def find_bundle(given: Path | None) -> Path:
    """The given bundle folder, else the newest one under LONGTAIL_BUNDLES_DIR.

    Raises:
        WorkloadError: there is none.
    """
    if given is not None:
        return given
    folder = Path(os.environ.get("LONGTAIL_BUNDLES_DIR") or "model_store/bundles")
    manifests = sorted(folder.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise WorkloadError(f"{folder} holds no bundle: build one first, or give --bundle")
    return manifests[-1].parent


def _prepare(child: Child, user_ids: Sequence[str]) -> MeasuredServer:
    bodies = [{"user_id": user_id, "k": K} for user_id in user_ids]
    requests = [encode_post(child.address, "/recommend", body) for body in bodies]
    return MeasuredServer(child, requests, expect_items(K))


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", module, "--port", "{port}"]


def _longtail() -> list[str]:
    """The installed command beside this Python, else the checkout's."""
    installed = Path(sys.executable).with_name("longtail")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "longtail"]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _is_asked_for(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, metavar="FOLDER", help="default: the newest")
    parser.add_argument(
        "--quick",
        action="store_true",
        default=_is_asked_for("QUICK"),
        help="under a minute, wider intervals; also QUICK=1",
    )
    options = parser.parse_args(arguments)
    # A plain kill must end the servers too, so it takes the same way out as Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        figures = run_bench(QUICK if options.quick else FULL, find_bundle(options.bundle))
    except LoadTestError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    print(format_bench(figures))
    print(json.dumps(figures, ensure_ascii=False), flush=True)
    return 1 if figures["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
