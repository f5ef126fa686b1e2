"""`longtail refresh`. Heavy imports wait for the command."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from offline.refresh.defaults import CANARY_LIMIT_S, CONFIDENCE, HOLDOUT, MARGIN, SHADOW_SHARE
from offline.source_flags import add_data_flags, source_of
from offline.time_flag import seconds


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    refresh = subparsers.add_parser(
        "refresh",
        help="train on what happened since, and publish the new version if it is not worse",
        description="Train the active version's recipe on the files and the archived events, from\n"
        "the active version's weights; compare both on the newest events, which neither saw;\n"
        "publish the new one if it is shown not to be worse. With --url it can be the shadow\n"
        "and the canary of a running service before it is promoted. An interrupted refresh\n"
        "goes on where it was. The report of each is in OUT/refresh/runs.",
        epilog="examples:\n"
        "  longtail refresh --interactions clicks.csv --items items.csv --events events "
        "--out builds/mine\n"
        "  longtail refresh --interactions clicks.csv --items items.csv --events events "
        "--out builds/mine --promote --every 24h\n"
        "  longtail refresh --interactions movielens-100k --events events --out builds/demo "
        "--url http://127.0.0.1:8000 --shadow 10m --canary 5 --promote",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_flags(refresh)
    refresh.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="of the build that the first version comes from; refreshes are in its refresh/",
    )
    refresh.add_argument(
        "--model",
        default="default",
        metavar="NAME",
        help="under which the version answers that is refreshed (%(default)s); those of another "
        "name are in OUT/refresh-NAME",
    )
    refresh.add_argument(
        "--every",
        type=seconds,
        metavar="TIME",
        help="refresh again and again, so long from one beginning to the next: 24h (once)",
    )
    refresh.add_argument(
        "--epochs", type=int, metavar="N", help="of the training, at most (the recipe's)"
    )
    refresh.add_argument(
        "--exposures",
        type=Path,
        metavar="FOLDER",
        help="archive of answers (`longtail events archive --exposures`); where some were drawn at "
        "random, what people clicked there decides",
    )
    _add_test(refresh)
    _add_trials(refresh)
    refresh.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="private key that signs the bundle (`longtail bundle keygen`)",
    )
    refresh.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="retire the versions that earlier refreshes published, but the newest so many and "
        "those in use; the histories of their users go from the store (all stay)",
    )
    refresh.set_defaults(run=_run)


def _add_test(refresh: argparse.ArgumentParser) -> None:
    test = refresh.add_argument_group("the comparison with the active version")
    test.add_argument(
        "--holdout",
        type=float,
        default=HOLDOUT,
        metavar="SHARE",
        help="of the new events, the newest ones, which neither version saw (%(default)s); as many "
        "before them choose the epoch",
    )
    test.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        metavar="SHARE",
        help="of the active version's figure: the loss that has to be ruled out (%(default)s)",
    )
    test.add_argument(
        "--confidence",
        type=float,
        default=CONFIDENCE,
        metavar="LEVEL",
        help="of the one-sided paired test over users (%(default)s)",
    )


def _add_trials(refresh: argparse.ArgumentParser) -> None:
    trials = refresh.add_argument_group("after it is published")
    trials.add_argument("--url", help="of a running service, for --shadow and --canary")
    trials.add_argument("--token", help="its admin token (else LONGTAIL_ADMIN_TOKEN)")
    trials.add_argument(
        "--shadow",
        type=seconds,
        metavar="TIME",
        help="answer requests unseen for so long, and report how answers differ: 10m",
    )
    trials.add_argument(
        "--shadow-share",
        type=float,
        metavar="PERCENT",
        help=f"with --shadow: of the requests ({SHADOW_SHARE:g})",
    )
    trials.add_argument(
        "--canary",
        type=float,
        metavar="PERCENT",
        help="answer so many of the users until there is a verdict; what is not fine ends",
    )
    trials.add_argument(
        "--canary-limit",
        type=seconds,
        metavar="TIME",
        help="with --canary: end one without a verdict after so long (1h)",
    )
    trials.add_argument(
        "--promote", action="store_true", help="make it the active version in the end"
    )


def _run(arguments: argparse.Namespace) -> int:
    from model_store.errors import ConfigError
    from offline.refresh.choices import Choices, folder_of
    from offline.refresh.command import TOKEN, refresh, service_of

    for flag, of in (("shadow_share", "shadow"), ("canary_limit", "canary"), ("token", "url")):
        if getattr(arguments, flag) is not None and getattr(arguments, of) is None:
            raise ConfigError(f"--{flag.replace('_', '-')} goes with --{of}")
    choices = Choices(
        source=source_of(arguments),
        root=folder_of(arguments.out, arguments.model),
        built=arguments.out,
        model=arguments.model,
        exposures=arguments.exposures,
        holdout=arguments.holdout,
        margin=arguments.margin,
        confidence=arguments.confidence,
        epochs=arguments.epochs,
        shadow_s=arguments.shadow,
        shadow_share=SHADOW_SHARE if arguments.shadow_share is None else arguments.shadow_share,
        canary_percent=arguments.canary,
        canary_limit_s=arguments.canary_limit or CANARY_LIMIT_S,
        promote=arguments.promote,
        service=service_of(
            arguments.url, arguments.token or os.environ.get(TOKEN), arguments.model
        ),
        key=arguments.key,
        keep=arguments.keep,
    )
    refresh(choices, every_s=arguments.every, log=_print_line)
    return 0


def _print_line(line: str) -> None:
    print(line, flush=True)
