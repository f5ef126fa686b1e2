"""The options of a load test, the same for `python -m loadtest.run` and for locust itself."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtest.pacing import ARRIVAL_KINDS, Arrivals
from loadtest.thresholds import Thresholds

WORKLOADS = ("stored_users", "stateless", "mixed")
"""The locust files of this folder, without `.py`."""

MAX_RATE_RPS = 20_000
MAX_DURATION_S = 3_600
MAX_USERS = 10_000
MAX_CONCURRENT_USERS = 500
"""Where a person names no number."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a load test."""
    parser.add_argument(
        "--url",
        default="http://127.0.0.1:8000",
        help="of the service (%(default)s); LONGTAIL_CALLER_KEY has the key where callers need one",
    )
    parser.add_argument(
        "--workload",
        choices=WORKLOADS,
        default="stored_users",
        help="what is asked: for stored users; with histories in the requests; visits, with events "
        "(%(default)s)",
    )
    source = parser.add_argument_group(
        "where users and items come from"
    ).add_mutually_exclusive_group()
    source.add_argument(
        "--workload-file", type=Path, metavar="FILE", help="written by loadtest.workload"
    )
    source.add_argument(
        "--bundle",
        type=Path,
        metavar="FOLDER",
        help="a bundle; default: that of the served version, else the service's answers",
    )
    parser.add_argument(
        "--users",
        type=_whole(MAX_USERS),
        metavar="N",
        help="simulated users at once (one for each request a second, from 10 to "
        f"{MAX_CONCURRENT_USERS})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="results in JSON, with the HTML report beside them (a new file in loadtest/results/)",
    )
    add_load_options(parser)


def add_load_options(parser: Any) -> None:
    """Declare the load and its thresholds on an argparse-like parser."""
    load = parser.add_argument_group("load")
    load.add_argument(
        "--rate",
        type=_positive(MAX_RATE_RPS),
        default=50.0,
        metavar="RPS",
        help="requests/s, all users together (50)",
    )
    load.add_argument(
        "--duration",
        type=_positive(MAX_DURATION_S),
        default=30.0,
        metavar="SECONDS",
        help="of the load (30)",
    )
    load.add_argument(
        "--arrivals",
        choices=ARRIVAL_KINDS,
        default="poisson",
        help="times between two requests: random, or all alike (%(default)s)",
    )
    load.add_argument(
        "--k", type=_whole(1_000), default=10, help="items asked for in each request (%(default)s)"
    )
    load.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="the same seed draws the same requests (%(default)s)",
    )
    load.add_argument(
        "--i-own-this-host", action="store_true", help="allow a target that isn't this machine"
    )
    limits = parser.add_argument_group("thresholds (a broken one sets the exit code)")
    limits.add_argument(
        "--max-p50-ms", type=_limit(), metavar="MS", help="median latency (no limit)"
    )
    limits.add_argument(
        "--max-p99-ms", type=_limit(), metavar="MS", help="99th percentile of latency (no limit)"
    )
    limits.add_argument(
        "--max-failures",
        type=_limit(1),
        default=0.0,
        metavar="SHARE",
        help="failed requests of all, 0 to 1 (0)",
    )
    limits.add_argument(
        "--min-rps",
        type=_limit(),
        metavar="RPS",
        help="answers a second without a fault (no limit)",
    )


def spell_load_options(options: argparse.Namespace) -> list[str]:
    """The same options as words of a command line."""
    words = [
        f"--rate={options.rate:g}",
        f"--duration={options.duration:g}",
        f"--arrivals={options.arrivals}",
        f"--k={options.k}",
        f"--seed={options.seed}",
        f"--max-failures={options.max_failures}",
    ]
    limits = {name: getattr(options, name) for name in ("max_p50_ms", "max_p99_ms", "min_rps")}
    words += [
        f"--{name.replace('_', '-')}={limit}" for name, limit in limits.items() if limit is not None
    ]
    if options.i_own_this_host:
        words.append("--i-own-this-host")
    return words


def read_arrivals(options: argparse.Namespace, n_users: int) -> Arrivals:
    """The intended starts of the options."""
    return Arrivals(options.rate, options.duration, n_users, options.arrivals, options.seed)


def read_thresholds(options: argparse.Namespace) -> Thresholds:
    """The thresholds of the options."""
    return Thresholds(
        max_p50_ms=options.max_p50_ms,
        max_p99_ms=options.max_p99_ms,
        max_failures=options.max_failures,
        min_rps=options.min_rps,
    )


def choose_n_users(rate_rps: float) -> int:
    """One simulated user for each request/s: each then has about a second for an answer."""
    return max(10, min(MAX_CONCURRENT_USERS, round(rate_rps)))


def _positive(largest: float) -> Callable[[str], float]:
    return _number(lambda value: 0 < value <= largest, f"above 0 and at most {largest:g}")


def _limit(largest: float = math.inf) -> Callable[[str], float]:
    """Reads a threshold; nothing is above or below one that is no number."""
    most = "" if largest == math.inf else f" and at most {largest:g}"
    return _number(lambda value: 0 <= value <= largest and value < math.inf, f"0 or more{most}")


def _number(fits: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is no number {wanted}")
        return value

    return read


def _whole(largest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= float(text) <= largest:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {largest:,}")
        return int(text)

    return read
