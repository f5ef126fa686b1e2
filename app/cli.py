"""`longtail serve`, `models`, `tokens`, `users` …; heavy modules are imported when one runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from app import bundle_command
from app.live_commands import add_service_flags, register_experiments, register_rules
from model_store.flag_values import percentage, up_to

_RAW = argparse.RawDescriptionHelpFormatter
MAX_K = 1_000
"""As in a request."""
MAX_DAYS = 36_500
MAX_ID_CHARACTERS = 512
_EXAMPLES = {"canary": " --percent 5", "shadow": " --share 10", "deactivate": " --model ratings"}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this package's commands."""
    _register_serve(subparsers)
    _register_models(subparsers)
    bundle_command.register(subparsers)
    register_experiments(subparsers)
    register_rules(subparsers)
    _register_rerank(subparsers)
    _register_tokens(subparsers)
    _register_users(subparsers)


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
        help="publish this bundle if it isn't published yet, and make it the active version, also "
        "of other services on the store: their workers load and check it first",
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
        help="versions: list, activate, canary, shadow, compare, promote, roll back, deactivate, "
        "retire",
        description="Show published versions and choose which answer. Works on the store, or with\n"
        "--url through a service. Either way all running workers load and check a version\n"
        "first, then all swap at once; if one of them can't, nothing changes.",
        epilog="examples:\n"
        "  longtail models list\n"
        "  longtail models show 2026-11-21-1\n"
        "  longtail models activate 2026-11-21-2\n"
        "  longtail models activate 2026-11-21-2 --url http://127.0.0.1:8000\n"
        "  longtail models activate 2026-11-30-1 --model ratings\n"
        "  longtail models canary 2026-11-21-3 --percent 5\n"
        "  longtail models promote 2026-11-21-3\n"
        "  longtail models shadow 2026-11-21-4 --share 10\n"
        "  longtail models rollback\n"
        "  longtail models retire 2026-11-21-1",
        formatter_class=_RAW,
    )
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, about, takes_version in (
        ("list", "all versions", False),
        ("show", "one version with its metrics", True),
        ("activate", "make a version the active one", True),
        ("canary", "let a version answer a share of the users; 0 %% ends that", True),
        ("shadow", "let a version answer a share of the requests unseen; 0 %% ends that", True),
        ("promote", "make the canary the active version", True),
        ("rollback", "activate the version that was active before", False),
        ("deactivate", "answer requests of a name no more; a rollback brings it back", False),
        ("retire", "remove a version and its keys from the store; its bundle stays", True),
    ):
        parser = actions.add_parser(
            action,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.".replace("%%", "%"),
            epilog=f"example: longtail models {action}{' 2026-11-21-1' if takes_version else ''}"
            f"{_EXAMPLES.get(action, '')}",
        )
        if takes_version:
            parser.add_argument("version", metavar="VERSION", help="of `longtail models list`")
        if action == "canary":
            parser.add_argument(
                "--percent", type=percentage, required=True, help="of the users, 0 to 100"
            )
        if action == "shadow":
            parser.add_argument(
                "--share", type=percentage, required=True, help="of the requests, 0 to 100"
            )
        if action in {"activate", "canary"}:
            parser.add_argument(
                "--force",
                action="store_true",
                help="also a version whose items lack attributes of the active one's",
            )
        if action not in {"list", "show", "retire"}:
            parser.add_argument(
                "--model",
                metavar="NAME",
                default="default",
                required=action == "deactivate",
                help="name that requests give as `model`, each with a deployment record of its own "
                "(default: %(default)s, of requests that give none)",
            )
        parser.add_argument("--json", action="store_true", help="print JSON, for machines")
        if action != "retire":
            add_service_flags(parser)
        parser.set_defaults(run=_run_models)
    _register_compare(actions)


def _register_compare(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    compare = actions.add_parser(
        "compare",
        help="how the answers of two versions differ",
        description="Ask two versions about the same users, or read what one of them answered as "
        "the other's\nshadow, and show how much their answers differ, for whom, and what is "
        "recommended\ninstead. A running service is not disturbed.",
        epilog="examples:\n"
        "  longtail models compare 2026-11-21-1 2026-11-21-2\n"
        "  longtail models compare 2026-11-21-1 2026-11-21-2 --shadowed --html comparison.html\n"
        "  longtail models compare 2026-11-21-1 2026-11-21-2 --url http://127.0.0.1:8000",
        formatter_class=_RAW,
    )
    compare.add_argument("a", metavar="A", help="a version")
    compare.add_argument("b", metavar="B", help="the version that it is compared with")
    compare.add_argument(
        "--users",
        type=up_to(),
        default=200,
        metavar="N",
        help="ask about N users that both versions know (200); with --shadowed: the last N answers",
    )
    compare.add_argument(
        "--k", type=up_to(MAX_K), default=10, metavar="K", help="items for each user (10)"
    )
    compare.add_argument(
        "--shadowed",
        action="store_true",
        help="compare what A answered live with what B answered as its shadow",
    )
    compare.add_argument("--html", type=Path, metavar="FILE", help="write a page, too")
    compare.add_argument("--json", action="store_true", help="print JSON, for machines")
    add_service_flags(compare)
    compare.set_defaults(run=_run_compare)


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
        "  longtail rerank --share 2/8\n"
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
        help="tail: those whose requests are reranked without asking for it; all: also those whose "
        "requests have to say `always` (tail)",
    )
    rerank.add_argument(
        "--limit",
        type=up_to(),
        metavar="N",
        help="ask about N users at most; those whose answers are there don't count",
    )
    rerank.add_argument(
        "--in-flight",
        type=up_to(),
        default=32,
        metavar="N",
        help="jobs that the reranker has at a time, 64 at most (32); fewer where "
        "LONGTAIL_RERANK_SOCKET names a process that requests wait for as well",
    )
    rerank.add_argument(
        "--share",
        type=_share,
        metavar="I/N",
        help="one of N equal shares of the users, 1/N to N/N, for N commands side by side; "
        "`longtail rerank-all` runs them",
    )
    rerank.add_argument("--json", action="store_true", help="print JSON, for machines")
    rerank.set_defaults(run=_run_rerank)


def _register_tokens(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tokens = subparsers.add_parser(
        "tokens",
        help="make, list, revoke tokens of operators and keys of callers",
        description="Tokens for the admin endpoints, besides LONGTAIL_ADMIN_TOKEN, and keys for\n"
        "callers where LONGTAIL_API_KEYS=required. The store keeps their digests; running\n"
        "services take and reject them without a restart.",
        epilog="examples:\n"
        "  longtail tokens create --role read --note grafana\n"
        "  longtail tokens create --role operate --note deployments --days 90\n"
        "  longtail tokens create --role call --note shop --per-minute 6000\n"
        "  longtail tokens list\n"
        "  longtail tokens revoke 9f86d081",
        formatter_class=_RAW,
    )
    actions = tokens.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser(
        "create",
        help="make a token and print it, this once",
        description="Make a token and print it, this once. Only the token goes to stdout.",
        epilog="example: longtail tokens create --role read --note grafana",
    )
    create.add_argument(
        "--role",
        choices=["read", "operate", "call"],
        required=True,
        help="read: GET under /admin; operate: everything there; call: recommendations, events and "
        "the like, where LONGTAIL_API_KEYS=required",
    )
    create.add_argument("--note", default="", help="its user or purpose, for lists and logs")
    create.add_argument(
        "--days", type=up_to(MAX_DAYS), metavar="N", help="it expires after N days; unset, never"
    )
    create.add_argument(
        "--per-minute", type=up_to(), metavar="N", help="quota of a caller; unset, none"
    )
    listing = actions.add_parser(
        "list",
        help="all tokens, without their secrets",
        description="All tokens, without their secrets.",
        epilog="example: longtail tokens list",
    )
    listing.add_argument("--json", action="store_true", help="print JSON, for machines")
    revoke = actions.add_parser(
        "revoke",
        help="end a token",
        description="End a token; services reject it from their next request on.",
        epilog="example: longtail tokens revoke 9f86d081",
    )
    revoke.add_argument("id", metavar="ID", help="of `longtail tokens list`")
    for parser in (create, listing, revoke):
        parser.set_defaults(run=_run_tokens)


def _register_users(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    users = subparsers.add_parser(
        "users",
        help="forget a person, or export what is kept of one",
        description="Remove everything that the store has by a user's id, or print it as JSON.\n"
        "Running services follow within a second. Bundles and the files they were built\n"
        "from are not touched.",
        epilog="examples:\n  longtail users forget 196\n  longtail users export 196 > 196.json",
        formatter_class=_RAW,
    )
    actions = users.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, about in (
        ("forget", "remove a person from the store"),
        ("export", "print what the store has of a person, as JSON"),
    ):
        parser = actions.add_parser(
            action,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"example: longtail users {action} 196",
        )
        parser.add_argument(
            "user_id", type=_user_id, metavar="USER_ID", help="as in requests and events"
        )
        parser.set_defaults(run=_run_users)


def _user_id(text: str) -> str:
    """An id as requests and events have it; that of an unset shell variable is nobody's."""
    if not 1 <= len(text) <= MAX_ID_CHARACTERS:
        raise argparse.ArgumentTypeError(f"an id has 1 to {MAX_ID_CHARACTERS} characters")
    return text


def _share(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not slash or not number.isdecimal() or not of.isdecimal() or not 1 <= int(number) <= int(of):
        raise argparse.ArgumentTypeError(f"{text!r} is no share such as 1/8")
    return int(number), int(of)


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


def _run_compare(arguments: argparse.Namespace) -> int:
    from app.compare_command import run

    return run(arguments)


def _run_rerank(arguments: argparse.Namespace) -> int:
    from app.rerank_command import EVERYBODY, Share, run

    return run(
        bundle=arguments.bundle,
        users=arguments.users,
        limit=arguments.limit,
        max_in_flight=arguments.in_flight,
        share=EVERYBODY if arguments.share is None else Share(*arguments.share),
        as_json=arguments.json,
    )


def _run_users(arguments: argparse.Namespace) -> int:
    from app.users_command import run

    return run(arguments)


def _run_tokens(arguments: argparse.Namespace) -> int:
    from app.tokens_command import run

    return run(arguments)
