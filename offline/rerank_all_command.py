"""`longtail rerank-all`. Heavy imports wait for the command."""

from __future__ import annotations

import argparse
from pathlib import Path

from model_store.flag_values import up_to
from offline.engine.choice import add_engine_flags, open_engine


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "rerank-all",
        help="fill the cache of reranked answers in several processes, or on several machines",
        description="Run `longtail rerank` for shares of the users, several at a time: each has a\n"
        "reranker of its own, of one thread. The answers are those of one command. May be\n"
        "stopped at any time, and goes on where it was when it is run again. LONGTAIL_ variables\n"
        "say which store and reranker, and go along to the processes.",
        epilog="examples:\n"
        "  longtail rerank-all --processes 4\n"
        "  longtail rerank-all --engine ray --processes 64 --users all",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FOLDER",
        help="as for `longtail rerank` (the active version)",
    )
    parser.add_argument(
        "--users", choices=["tail", "all"], default="tail", help="as for `longtail rerank` (tail)"
    )
    parser.add_argument(
        "--shares",
        type=up_to(16_384),
        metavar="N",
        help="that the users are divided into (four for each process)",
    )
    add_engine_flags(parser, "one for each core")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from offline.engine.local import count_cores
    from offline.rerank_all import SHARES_EACH, rerank_all

    flags = ["--users", arguments.users]
    if arguments.bundle is not None:
        flags += ["--bundle", str(arguments.bundle.resolve())]
    n_processes = arguments.processes or count_cores()
    n_shares = arguments.shares or SHARES_EACH * n_processes
    engine = open_engine(arguments.engine, n_processes)
    return rerank_all(tuple(flags), engine, n_shares, print)
