"""Flags of commands that run stages on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offline.data.namings import Naming
    from offline.inputs import Source


ITEM_NAMING_FLAGS = ("item_columns", "no_item_header", "kinds")
NAMING_FLAGS = ("columns", "no_header", *ITEM_NAMING_FLAGS)
"""What can be said about columns and headers, as attributes of parsed arguments."""


def add_data_flags(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the data set's files, and what can be said about their columns.

    Args:
        parser: of the command.
        required: whether the command needs interactions.
    """
    parser.add_argument(
        "--interactions",
        required=required,
        metavar="FILE",
        help="CSV, Parquet, a MovieLens or RecBole file or folder; or movielens-100k, fetched",
    )
    parser.add_argument("--items", metavar="FILE", help="the catalogue; in a folder it is found")
    parser.add_argument(
        "--events",
        type=Path,
        metavar="FOLDER",
        help="an archive of `longtail events archive`, whose events are added to the interactions",
    )
    add_naming_flags(parser)


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Add the data set's files, its kind of item, and the folder of the stages."""
    add_data_flags(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="folder of the stages"
    )
    parser.add_argument(
        "--item-kind",
        metavar="WORD",
        help="kind of item, for the language model: film, product (item)",
    )


def add_naming_flags(parser: argparse.ArgumentParser) -> None:
    """Add what a person can say about columns and headers."""
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="NAMES",
        help="the interactions' columns, by name or by number from 1, where they aren't found: "
        "user_id=visitor,item_id=sku,timestamp=ts",
    )
    parser.add_argument(
        "--no-header",
        action="store_true",
        help="the interactions' first line is a row: --columns user_id=1,item_id=2,timestamp=4",
    )
    add_item_naming_flags(parser)


def add_item_naming_flags(parser: argparse.ArgumentParser) -> None:
    """Add what a person can say about the catalogue's columns and header."""
    parser.add_argument(
        "--item-columns",
        action="append",
        default=[],
        metavar="NAMES",
        help="as --columns, the catalogue's: item_id=sku,title=name",
    )
    parser.add_argument(
        "--no-item-header", action="store_true", help="the catalogue's first line is a row"
    )
    parser.add_argument(
        "--kinds",
        action="append",
        default=[],
        metavar="KINDS",
        help="what columns of the catalogue are (text, list, number, boolean), where their content "
        "doesn't tell; timestamp is the interactions': tags=list,zip=text,timestamp=day-first",
    )


def naming_of(arguments: argparse.Namespace) -> Naming:
    """What the flags say about columns and headers.

    Raises:
        ConfigError: a flag's value has another form.
    """
    from offline.data.namings import parse_naming

    return parse_naming(
        getattr(arguments, "columns", []),
        arguments.item_columns,
        has_header=not getattr(arguments, "no_header", False),
        has_item_header=not arguments.no_item_header,
        kinds=arguments.kinds,
    )


def source_of(arguments: argparse.Namespace) -> Source:
    """The data set that the flags name.

    Raises:
        ConfigError: a flag's value has another form, or is about a data set known by name.
        FetchError: a data set known by name can't be fetched.
    """
    from model_store.errors import ConfigError
    from offline.inputs import NAMED, find_source

    name = arguments.interactions
    for flag in ("items", *NAMING_FLAGS) if name in NAMED else ():
        if getattr(arguments, flag):
            given = flag.replace("_", "-")
            raise ConfigError(f"--{given}: {name} has its own; a folder of yours is ./{name}")
    return find_source(
        arguments.interactions,
        arguments.items,
        getattr(arguments, "item_kind", None),
        naming_of(arguments),
        getattr(arguments, "events", None),
    )
