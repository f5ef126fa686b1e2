"""`longtail experiments`, `rules`: what changes live answers without another version."""

from __future__ import annotations

import argparse
from pathlib import Path

_RAW = argparse.RawDescriptionHelpFormatter


def add_service_flags(parser: argparse.ArgumentParser) -> None:
    """For commands that work on the store, or through a service."""
    parser.add_argument(
        "--url", help="ask a running service; needs LONGTAIL_ADMIN_TOKEN or --token"
    )
    parser.add_argument("--token", help="admin token (else LONGTAIL_ADMIN_TOKEN)")


def register_experiments(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `longtail experiments`."""
    experiments = subparsers.add_parser(
        "experiments",
        help="compare arms of users by clicks: start, show, stop",
        description="Answer arms of the users by other versions or with other defaults, and show\n"
        "exposures, clicks and the effect by arm. The first arm is the control. Works on the\n"
        "store, or with --url through a service.",
        epilog="examples:\n"
        "  longtail experiments start diverse --arm control=50 --arm varied=50,diversity=0.3\n"
        "  longtail experiments start plain --arm control=90 --arm plain=10,rerank=never\n"
        "  longtail experiments show diverse\n"
        "  longtail experiments stop diverse",
        formatter_class=_RAW,
    )
    actions = experiments.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, about, example in (
        ("start", "start an experiment", "diverse --arm control=50 --arm varied=50,diversity=0.3"),
        ("show", "the figures of an experiment, or the list of all", "diverse"),
        ("stop", "end an experiment and show its figures; they are kept for 30 days", "diverse"),
    ):
        parser = actions.add_parser(
            action,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"example: longtail experiments {action} {example}",
        )
        parser.add_argument(
            "name",
            metavar="NAME",
            nargs="?" if action == "show" else None,
            help="of the experiment" + ("; without it, all are listed" if action == "show" else ""),
        )
        if action == "start":
            parser.add_argument(
                "--arm",
                action="append",
                required=True,
                metavar="ARM",
                help="NAME=SHARE in percent, then by commas version=VERSION and defaults of "
                "requests: k, exclude_seen, diversity, rerank, deadline_ms; twice or more, the "
                "control first",
            )
            parser.add_argument(
                "--salt", help="decides with a user's id which arm it is in (else NAME)"
            )
            parser.add_argument(
                "--model",
                metavar="NAME",
                default="default",
                help="answer requests with this `model` by arms (default: %(default)s, those "
                "without)",
            )
            parser.add_argument(
                "--force",
                action="store_true",
                help="also versions whose items lack attributes of the active one's",
            )
        parser.add_argument("--json", action="store_true", help="print JSON, for machines")
        add_service_flags(parser)
        parser.set_defaults(run=_run_experiments)


def register_rules(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `longtail rules`."""
    rules = subparsers.add_parser(
        "rules",
        help="hide, boost, bury, pin and cap items: apply, show, rollback",
        description="Rules for all answers, live at all workers within a second. A file holds all\n"
        "of them, as JSON; docs/rules.md says what a rule may be. Works on the store, or with\n"
        "--url through a service.",
        epilog="examples:\n"
        "  longtail rules apply rules.json\n"
        "  longtail rules show\n"
        "  longtail rules show --json > rules.json\n"
        "  longtail rules rollback",
        formatter_class=_RAW,
    )
    actions = rules.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, about, example in (
        ("apply", "replace all rules by those of a file", " rules.json"),
        ("show", "the rules in force, and earlier ones", ""),
        ("rollback", "go back to the rules that were in force before", ""),
    ):
        parser = actions.add_parser(
            action,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"example: longtail rules {action}{example}",
        )
        if action == "apply":
            parser.add_argument(
                "file", type=Path, metavar="FILE", help='JSON: {"rules": [...]}; - reads stdin'
            )
        parser.add_argument("--json", action="store_true", help="print JSON, for machines")
        add_service_flags(parser)
        parser.set_defaults(run=_run_rules)


def _run_experiments(arguments: argparse.Namespace) -> int:
    from app.experiments_command import run

    return run(arguments)


def _run_rules(arguments: argparse.Namespace) -> int:
    from app.rules_command import run

    return run(arguments)
