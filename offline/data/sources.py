"""Finds the files of a folder and their forms; opens and checks them without reading rows.

Input with wrong names, headers or types is rejected here, before any work starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store.errors import InputError
from offline.data.columns import (
    ITEM_ID,
    RATING,
    TIMESTAMP,
    TITLE,
    USER_ID,
    check_types,
    find_columns,
)
from offline.data.movielens import open_movies_dat, open_ratings, open_u_item, split_titles
from offline.data.recbole import open_atomic
from offline.data.tables import ParquetTable, Table, is_parquet
from offline.data.text_tables import open_csv

INTERACTION_FILES = (
    *("interactions.parquet", "interactions.csv", "interactions.tsv"),
    *("ratings.dat", "u.data", "ratings.csv", "*.inter"),
)
ITEM_FILES = (
    *("items.parquet", "items.csv", "items.tsv"),
    *("movies.dat", "u.item", "movies.csv", "*.item"),
)


@dataclass(frozen=True)
class Source:
    """An open table and the names of its columns by meaning."""

    table: Table
    columns: dict[str, str]


def open_sources(interactions: Path, items: Path | None) -> tuple[Source, Source | None]:
    """Open interactions and items; with a folder of interactions, items are looked for in it.

    Raises:
        InputError: a file is missing, of no known form, or lacks a column.
    """
    if items is None and interactions.is_dir() and _find_files(interactions, ITEM_FILES):
        items = interactions
    if items is not None and items.is_dir():
        items = _find_file(items, ITEM_FILES, "items")
    if interactions.is_dir():
        interactions = _find_file(interactions, INTERACTION_FILES, "interactions")
    opened = _open_interactions(_existing(interactions))
    return opened, None if items is None else open_items(items)


def _open_interactions(path: Path) -> Source:
    if path.suffix == ".inter":
        table: Table = open_atomic(path)
    elif path.suffix == ".dat":
        table = open_ratings(path, "::")
    elif path.name == "u.data":
        table = open_ratings(path, "\t")
    else:
        table = _open_plain(path)
    columns = find_columns(table, (USER_ID, ITEM_ID, TIMESTAMP), (RATING,))
    check_types(table, columns)
    return Source(table, columns)


def open_items(path: Path) -> Source:
    """Open a file of items.

    Raises:
        InputError: it is missing, of no known form, or lacks a column.
    """
    path = _existing(path)
    required: tuple[str, ...] = (ITEM_ID, TITLE)
    if path.name == "u.item":
        table: Table = open_u_item(path)
    elif path.suffix == ".item":
        # Many of RecBole's data sets have no titles; such items are named by their ids.
        table = open_atomic(path)
        required = (ITEM_ID,)
    elif path.suffix == ".dat":
        table = open_movies_dat(path)
    else:
        table = _open_plain(path)
        if {"movieId", "title"} <= table.schema.keys():
            table = split_titles(table)
    columns = find_columns(table, required, (TITLE,))
    check_types(table, {ITEM_ID: columns[ITEM_ID]})
    return Source(table, columns)


def _open_plain(path: Path) -> Table:
    return ParquetTable(path) if is_parquet(path) else open_csv(path)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: is no file")
    return path


def _find_file(folder: Path, names: Sequence[str], what: str) -> Path:
    """The one file of a folder that goes by one of `names`.

    Raises:
        InputError: there is none, or there are several.
    """
    found = _find_files(folder, names)
    if not found:
        raise InputError(f"{folder}: holds no {what} (looked for {', '.join(names)})")
    if len(found) > 1:
        raise InputError(
            f"{folder}: both {found[0].name} and {found[1].name} could be the {what}; name the file"
        )
    return found[0]


def _find_files(folder: Path, names: Sequence[str]) -> list[Path]:
    matches = [path for name in names for path in sorted(folder.glob(name)) if path.is_file()]
    found = list(dict.fromkeys(matches))  # u.item matches twice
    # RecBole's folders may hold parts next to the whole, which is named like the folder.
    whole = [path for path in found if path.stem == folder.resolve().name]
    return whole if len(whole) == 1 else found
