"""Flags of `longtail evaluate --logged`."""

from __future__ import annotations

import argparse
from pathlib import Path

from model_store.errors import ConfigError


def add_logged_flags(parser: argparse.ArgumentParser) -> None:
    """Add them to a command."""
    logged = parser.add_argument_group("what archived answers got")
    logged.add_argument(
        "--logged",
        action="store_true",
        help="clicks per exposure by version, arm, rank and segment of users, and with --bundle "
        "what that would have got on answers that were drawn at random",
    )
    logged.add_argument(
        "--events",
        type=Path,
        metavar="FOLDER",
        help="with --logged: of `longtail events archive --out`",
    )
    logged.add_argument(
        "--exposures",
        type=Path,
        metavar="FOLDER",
        help="with --logged: of `longtail events archive --exposures`",
    )
    logged.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="with --logged and --bundle: its answers are drawn by its scores at this temperature "
        "(default: they are its best items)",
    )


def asks_for_logged(arguments: argparse.Namespace) -> bool:
    """Whether archived answers are to be evaluated.

    Raises:
        ConfigError: a flag of this is given without --logged.
    """
    if not arguments.logged:
        for name in ("events", "exposures", "temperature"):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name} goes with --logged")
    return bool(arguments.logged)


def run_logged(arguments: argparse.Namespace) -> int:
    """Run `longtail evaluate --logged`.

    Raises:
        ConfigError: an archive isn't named, or a flag is of an evaluation by a service.
    """
    from model_store.deployments import DEFAULT
    from offline.logged.command import evaluate_logged

    for name in ("url", "rerank", "rps", "model"):
        if getattr(arguments, name) not in (None, False, DEFAULT):
            raise ConfigError(
                f"--{name} asks a service, and --logged reads archives: leave one out"
            )
    for name in ("events", "exposures"):
        if getattr(arguments, name) is None:
            raise ConfigError(f"--logged needs --{name} FOLDER (see `longtail events archive`)")
    return evaluate_logged(
        arguments.events,
        arguments.exposures,
        arguments.bundle,
        temperature=arguments.temperature or 0.0,
        as_json=arguments.json,
    )
