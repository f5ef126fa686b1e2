"""`longtail recommend-all`. Heavy imports wait for the command."""

from __future__ import annotations

import argparse
from pathlib import Path

from offline.engine.choice import add_engine_flags, open_engine, up_to
from offline.source_flags import add_data_flags, source_of

MAX_K = 1_000
"""As in a request."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "recommend-all",
        help="k items for every user, as Parquet files",
        description="Recommend to every user what POST /recommend would answer without rules and\n"
        "reranking: for mailings, campaigns, other systems. Users are those of the bundle, or of\n"
        "--interactions. Writes Parquet files with the columns user_id, rank, item_id, score and\n"
        "served_by, and recommendations.json when all are there. Can be killed at any time: the\n"
        "same command computes what is missing. What changed is computed anew.",
        epilog="examples:\n"
        "  longtail recommend-all --out campaign\n"
        "  longtail recommend-all --bundle builds/mine/bundle --k 20 --out campaign\n"
        "  longtail recommend-all --bundle builds/mine/bundle --interactions clicks.csv \\\n"
        "      --no-exclude-seen --out campaign",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="the bundle (default: the active version's)"
    )
    add_data_flags(parser, required=False)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="folder of the files"
    )
    parser.add_argument("--k", type=up_to(MAX_K), default=10, help="items for each user (10)")
    parser.add_argument(
        "--exclude-seen",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="leave out the items of a user's history (yes)",
    )
    parser.add_argument(
        "--batch-size",
        type=up_to(1_000_000),
        default=8_192,
        metavar="N",
        help="users of a file; a kill loses one in each process (8192)",
    )
    add_engine_flags(parser, "one for each core")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from model_store.errors import ConfigError
    from offline.recommend_all.command import Options, recommend_all

    source = None
    if arguments.interactions is not None:
        source = source_of(arguments)
    else:
        for flag in ("items", "events", "columns", "no_header", "kinds"):
            if getattr(arguments, flag):
                raise ConfigError(f"--{flag.replace('_', '-')} goes with --interactions")
    options = Options(
        k=arguments.k,
        exclude_seen=arguments.exclude_seen,
        batch_size=arguments.batch_size,
        engine=open_engine(arguments.engine, arguments.processes),
    )
    recommend_all(arguments.bundle, source, arguments.out, options, _print_line)
    return 0


def _print_line(line: str) -> None:
    print(line, flush=True)
