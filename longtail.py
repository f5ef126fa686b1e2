"""The `longtail` command. Each subcommand lives in the package that does the work."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import NoReturn

import shtab

from model_store.errors import LongtailError
from model_store.suggestion import did_you_mean

PACKAGES = ("offline.cli", "app.cli", "loadtest.cli", "longtail_client.cli")
"""Modules with `register(subparsers)`; they import heavy modules only when a command runs."""


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors suggest what was meant; subparsers are of the same class."""

    def error(self, message: str) -> NoReturn:
        """Print usage and message, and exit with 2."""
        # argparse would name the function that reads the value.
        message = re.sub(r"invalid (\w+) value: (.*)", _wrong_value, message, flags=re.DOTALL)
        wrong_choice = re.search(r"invalid choice: '(.*)' \(choose from (.+)\)", message)
        unknown = re.search(r"unrecognized arguments: (--[^\s=]+)", message)
        hint = ""
        if wrong_choice:
            hint = did_you_mean(wrong_choice[1], re.findall(r"[^\s',]+", wrong_choice[2]))
        elif unknown:
            options = {option for action in _actions(self) for option in action.option_strings}
            hint = did_you_mean(unknown[1], options)
        super().error(message + hint)


def _wrong_value(found: re.Match[str]) -> str:
    wanted = {"int": "is no whole number", "float": "is no number"}
    return f"{found[2]} {wanted.get(found[1], 'is no such value')}"


def _some_path(text: str) -> Path:
    return Path(_some_text(text))


def _some_text(text: str) -> str:
    """A path as it is given; that of an unset shell variable would be the current folder.

    Raises:
        ArgumentTypeError: it is blank.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty")
    return text


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of a parser and its subparsers."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _actions(child)


def build_parser() -> argparse.ArgumentParser:
    """The command line of all installed packages (a serving image has no `offline`)."""
    parser = CommandParser(
        prog="longtail",
        description="Build, publish, serve and load-test sequential recommenders.",
        epilog="`longtail COMMAND --help` has examples.",
    )
    parser.add_argument("--version", action="version", version=metadata.version("longtail"))
    shtab.add_argument_to(
        parser, ["--print-completion"], help="print the shell's completion of this command"
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for package in PACKAGES:
        try:
            module = import_module(package)
        except ModuleNotFoundError as error:
            if error.name not in {package, package.partition(".")[0]}:
                raise
            continue
        module.register(subparsers)
    for action in _actions(parser):
        if action.type is Path or action.metavar in ("FILE", "FOLDER"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
            action.type = _some_path if action.type is Path else _some_text
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0 on success, 1 on an error, 2 on wrong arguments."""
    try:
        arguments = _read(argv)
    except BrokenPipeError:
        return 1
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
    except (OSError, MemoryError) as error:
        print(f"longtail {arguments.command}: {_reason(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nlongtail {arguments.command}: stopped", file=sys.stderr)
        return 130


def _read(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    words = sys.argv[1:] if argv is None else argv
    # Neither an id in the store nor a path in a manifest can be anything else than text.
    given = [(f"the argument {word!a}", word) for word in words]
    given += [item for item in os.environ.items() if item[0].startswith("LONGTAIL_")]
    for what, text in given:
        if any("\ud800" <= character <= "\udfff" for character in text):
            parser.error(f"{what} is no text in {sys.getfilesystemencoding()}")
    return parser.parse_args(words)


def _reason(error: OSError | MemoryError) -> str:
    """The fault of a file, a disk or the memory in one line."""
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}".removesuffix(": ")
    if error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return error.strerror or str(error)


if __name__ == "__main__":
    sys.exit(main())
