"""The page of all commands and their options, made from the command line itself.

`python -m tests.contracts.command_reference` writes it to docs/commands.md.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from longtail import build_parser
from tests.contracts.tree import ROOT

FILE = ROOT / "docs" / "commands.md"
HEAD = """\
# Commands

Every command of `longtail` with its options, as `--help` has them. What stands in brackets at the
end holds where an option is not given. A command exits with 0; with 1 and a line on stderr where it
failed; with 2 where its arguments are wrong. Environment variables are on the page
[Settings](settings.md), the keys of recipes in the [Recipe reference](recipe-reference.md).
"""
COLUMNS = ["| argument | meaning |", "| --- | --- |"]


def leaves(
    parser: argparse.ArgumentParser, name: tuple[str, ...] = ("longtail",)
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command that can be run, by its name; `longtail models` alone can't."""
    below = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not below:
        yield " ".join(name), parser
    for action in below:
        for word, child in action.choices.items():
            yield from leaves(child, (*name, word))


def render_commands() -> str:
    """The page."""
    parts = [HEAD.rstrip()]
    for name, parser in leaves(build_parser()):
        about = " ".join(line.strip() for line in (parser.description or "").splitlines())
        parts += [f"## `{name}`", about]
        rows = [_row(parser, action) for action in parser._actions if action.dest != "help"]
        if rows:
            parts.append("\n".join([*COLUMNS, *rows]))
        parts.append("\n".join(["```", *_examples(parser.epilog or ""), "```"]))
    return "\n\n".join(parts) + "\n"


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    spelled = formatter._format_action_invocation(action)
    if len(action.option_strings) > 1 and action.nargs != 0:  # the value once, behind all names
        value = formatter._format_args(action, action.dest.upper())
        spelled = f"{', '.join(action.option_strings)} {value}"
    about = re.sub(r"(?<!\\)\|", r"\|", formatter._expand_help(action))
    required = " **needed**;" if action.option_strings and action.required else ""
    return f"| `{spelled}` |{required} {about} |"


def _examples(epilog: str) -> list[str]:
    """The lines after "example:" or "examples:"."""
    _, _, examples = epilog.partition(":")
    return [line.removeprefix("  ") for line in examples.strip("\n").splitlines()]


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(
        prog="python -m tests.contracts.command_reference", description=__doc__
    ).parse_args()
    FILE.write_text(render_commands())


if __name__ == "__main__":
    main()
