"""`longtail serve`, `models` and `rerank`; heavy modules are imported when a command runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

_RAW = argparse.RawDescriptionHelpFormatter


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this package's commands."""
    _register_serve(subparsers)
    _register_models(subparsers)
    _register_rerank(subparsers)


def _register_serve(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = subparsers.add_parser(
        "serve",
        help="answer POST /recommend",
        description="Serve the active version, or the given bundle, until Ctrl-C.\n"
        "LONGTAIL_ variables set everything else; without LONGTAIL_REDIS_URL the\n"
        "embedded store is started and ended with the service.",
        epilog="examples:\n"
        "  longtail serve\n"
        "  longtail serve --bundle builds/demo/bundle --port 8080\n"
        "  LONGTAIL_REDIS_URL=redis://store:6379/0 longtail serve --host 0.0.0.0 --workers 4",
        formatter_class=_RAW,
    )
    serve.add_argument(
        "--bundle",
        type=Path,
        metavar="FOLDER",
        help="publish this bundle if it isn't published yet, and make it the active version",
    )
    serve.add_argument("--host", help="address to listen on (LONGTAIL_HOST, else 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (LONGTAIL_PORT, else 8000)")
    serve.add_argument(
        "--workers", type=int, help="number of worker processes (LONGTAIL_WORKERS, else 1)"
    )
    serve.set_defaults(run=_run_serve)


def _register_models(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = subparsers.add_parser(
        "models",
        help="list, show, activate, roll back, retire versions",
        description="Show published versions and choose the active one. Works on the store;\n"
        "running services follow within a second. With --url a service does it instead, and\n"
        "answers once the version has passed all its checks there.",
        epilog="examples:\n"
        "  longtail models list\n"
        "  longtail models show 2026-11-21-1\n"
        "  longtail models activate 2026-11-21-2\n"
        "  longtail models activate 2026-11-21-2 --url http://127.0.0.1:8000\n"
        "  longtail models rollback\n"
        "  longtail models retire 2026-11-21-1",
        formatter_class=_RAW,
    )
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, about, takes_version in (
        ("list", "all versions", False),
        ("show", "one version with its metrics", True),
        ("activate", "make a version the active one", True),
        ("rollback", "activate the version that was active before", False),
        ("retire", "remove a version and its keys from the store; its bundle stays", True),
    ):
        parser = actions.add_parser(
            action,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"example: longtail models {action}{' 2026-11-21-1' if takes_version else ''}",
        )
        if takes_version:
            parser.add_argument("version", metavar="VERSION")
        parser.add_argument("--json", action="store_true", help="print JSON, for machines")
        if action != "retire":
            parser.add_argument(
                "--url", help="ask a running service; needs LONGTAIL_ADMIN_TOKEN or --token"
            )
            parser.add_argument("--token", help="admin token (else LONGTAIL_ADMIN_TOKEN)")
        parser.set_defaults(run=_run_models)


def _register_rerank(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    rerank = subparsers.add_parser(
        "rerank",
        help="fill the cache of reranked answers before users come",
        description="Ask the reranker about a published version's users, those with the fewest\n"
        "interactions first, and keep the answers in the store: a user's next request\n"
        "finds its answer there. May be stopped at any time, and goes on where it was\n"
        "when it is run again. LONGTAIL_ variables say which store and reranker, as for\n"
        "`longtail serve`; a running service is not disturbed.",
        epilog="examples:\n"
        "  longtail rerank\n"
        "  longtail rerank --bundle builds/mine/bundle --users tail\n"
        "  longtail rerank --users all --limit 1000\n"
        "  LONGTAIL_RERANK_URL=http://vllm:8000/v1 longtail rerank",
        formatter_class=_RAW,
    )
    rerank.add_argument(
        "--bundle",
        type=Path,
        metavar="FOLDER",
        help="a bundle that is published; unset means the active version",
    )
    rerank.add_argument(
        "--users",
        choices=["tail", "all"],
        default="tail",
        help="tail: those whose requests are reranked with `auto`, the default; all: also those "
        "whose requests have to ask for it with `always`",
    )
    rerank.add_argument(
        "--limit",
        type=_positive,
        metavar="N",
        help="ask about N users at most; those whose answers are there don't count",
    )
    rerank.add_argument(
        "--in-flight",
        type=_positive,
        default=32,
        metavar="N",
        help="jobs that the reranker has at a time, 64 at most (32); fewer where "
        "LONGTAIL_RERANK_SOCKET names a process that requests wait for as well",
    )
    rerank.set_defaults(run=_run_rerank)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def _run_serve(arguments: argparse.Namespace) -> NoReturn:
    from app.http.server import end_process
    from app.serve import serve

    status = 0
    try:
        serve(
            bundle=arguments.bundle,
            host=arguments.host,
            port=arguments.port,
            workers=arguments.workers,
        )
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        print("\nlongtail serve: stopped", file=sys.stderr)
        status = 130
    end_process(status)


def _run_models(arguments: argparse.Namespace) -> int:
    from app.models_command import run

    return run(arguments)


def _run_rerank(arguments: argparse.Namespace) -> int:
    from app.rerank_command import run

    return run(
        bundle=arguments.bundle,
        users=arguments.users,
        limit=arguments.limit,
        max_in_flight=arguments.in_flight,
    )
