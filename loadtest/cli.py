"""`longtail loadtest`: the load test as a part of the one command."""

from __future__ import annotations

import argparse
from typing import Any

from loadtest.options import add_arguments


def register(subparsers: Any) -> None:
    """Add `loadtest` to the command's subparsers."""
    parser = subparsers.add_parser(
        "loadtest",
        help="load-test a running service",
        description="Load-test a running service with paced arrivals.",
        epilog="example: longtail loadtest --workload mixed --rate 100 --duration 30",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from loadtest.run import run_command

    return run_command(options, "longtail loadtest")
