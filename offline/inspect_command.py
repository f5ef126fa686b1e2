"""`longtail inspect`. Heavy imports wait for the command."""

from __future__ import annotations

import argparse
from pathlib import Path

from offline.source_flags import add_data_flags, source_of


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    inspect = subparsers.add_parser(
        "inspect",
        help="tell what is understood of interactions and a catalogue, before any training",
        description="Read the files as a build would, and print what each column was taken for,\n"
        "what was dropped and why, whether the items of both files meet, times, histories,\n"
        "repeats, and some rows. Nothing is trained and nothing is kept.",
        epilog="examples:\n"
        "  longtail inspect --interactions clicks.csv --items items.csv\n"
        "  longtail inspect --interactions ml-1m/ --html ml-1m.html\n"
        "  longtail inspect --interactions clicks.csv --items items.csv --json | jq .warnings\n"
        "  longtail inspect --interactions clicks.csv --recipe shop.toml\n"
        "  longtail inspect --interactions log.txt --no-header "
        "--columns user_id=1,item_id=2,timestamp=4",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_flags(inspect)
    inspect.add_argument(
        "--recipe",
        metavar="NAME",
        help="use the interactions as this recipe's [data] and [events] say (default)",
    )
    inspect.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots, too")
    inspect.add_argument(
        "--json", action="store_true", help="print a JSON document, in place of the text"
    )
    inspect.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from offline.inspect.command import inspect_source
    from offline.recipe import DEFAULT, read_recipe

    source, recipe = source_of(arguments), read_recipe(arguments.recipe or DEFAULT)
    described = inspect_source(
        source.interactions,
        source.items,
        arguments.html,
        source.naming,
        recipe.data,
        recipe.events,
        events=source.events,
        as_json=arguments.json,
    )
    print(described)
    return 0
