"""`longtail recommend-all`. Heavy imports wait for the command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.flag_values import up_to
from offline.engine.choice import add_engine_flags, open_engine
from offline.source_flags import NAMING_FLAGS, add_data_flags, source_of

if TYPE_CHECKING:
    from offline.inputs import Source
    from offline.recommend_all.command import Live

MAX_K = 1_000
"""As in a request."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "recommend-all",
        help="k items for every user, as Parquet files",
        description="Recommend to every user what POST /recommend would answer without rules and\n"
        "reranking: for mailings, campaigns, other systems. Users are those of the bundle, of\n"
        "--interactions, or --live those of the store. Writes Parquet files with the columns\n"
        "user_id, rank, item_id, score and served_by, and recommendations.json when all are\n"
        "there. Can be killed at any time: the same command computes what is missing. What\n"
        "changed is computed anew.",
        epilog="examples:\n"
        "  longtail recommend-all --out campaign\n"
        "  longtail recommend-all --bundle builds/mine/bundle --k 20 --out campaign\n"
        "  longtail recommend-all --live --out campaign\n"
        "  longtail recommend-all --bundle builds/mine/bundle --interactions clicks.csv \\\n"
        "      --no-exclude-seen --out campaign",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="the bundle (default: the active version's)"
    )
    add_data_flags(parser, required=False)
    parser.add_argument(
        "--live",
        action="store_true",
        help="the users that the store at LONGTAIL_REDIS_URL has now, with the events that came "
        "since the build, and without those who were forgotten",
    )
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
    from offline.recommend_all.command import LIVE, Options, recommend_all

    source: Source | Live | None = None
    if arguments.interactions is not None:
        if arguments.live:
            raise ConfigError("--live: histories come from the store, not from --interactions")
        source = source_of(arguments)
    else:
        for flag in ("items", "events", *NAMING_FLAGS):
            if getattr(arguments, flag):
                raise ConfigError(f"--{flag.replace('_', '-')} goes with --interactions")
        source = LIVE if arguments.live else None
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
