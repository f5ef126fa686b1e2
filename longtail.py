"""The `longtail` command. Each subcommand lives in the package that does the work."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module, metadata

from model_store.errors import LongtailError

PACKAGES = ("offline.cli", "app.cli", "loadtest.cli")
"""Modules with `register(subparsers)`; they import heavy modules only when a command runs."""


def build_parser() -> argparse.ArgumentParser:
    """The command line of all installed packages (a serving image has no `offline`)."""
    parser = argparse.ArgumentParser(
        prog="longtail",
        description="Build, publish, serve and load-test sequential recommenders.",
        epilog="`longtail COMMAND --help` has examples.",
    )
    parser.add_argument("--version", action="version", version=metadata.version("longtail"))
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for package in PACKAGES:
        try:
            module = import_module(package)
        except ModuleNotFoundError as error:
            if error.name not in {package, package.partition(".")[0]}:
                raise
            continue
        module.register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0 on success, 1 on an error, 2 on wrong arguments."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return int(arguments.run(arguments) or 0)
    except LongtailError as error:
        print(f"longtail {arguments.command}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(
            f"longtail {arguments.command}: the package {error.name!r} is not installed; "
            "`make install` sets up everything",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print(f"\nlongtail {arguments.command}: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
