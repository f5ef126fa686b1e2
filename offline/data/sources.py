"""Opens the files of a data set and checks them without reading rows.

Input with wrong names, headers or types is rejected here, before any work starts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from model_store.errors import InputError
from offline.data.byte_streams import without_packing
from offline.data.columns import (
    EVENT_TYPE,
    ITEM_ID,
    RATING,
    TIMESTAMP,
    TITLE,
    USER_ID,
    MissingColumnsError,
    can_hold,
    check_types,
    find_columns,
)
from offline.data.folders import (
    INTERACTION_FILES,
    ITEM_FILES,
    find_known,
    find_table,
    part_files,
)
from offline.data.movielens import open_movies_dat, open_ratings, open_u_item, split_titles
from offline.data.namings import AS_FOUND, FileNaming, Naming, find_named
from offline.data.parts import Part, PartsTable
from offline.data.recbole import open_atomic
from offline.data.tables import ParquetTable, Table, is_parquet
from offline.data.text_tables import TextTable, open_csv


@dataclass(frozen=True)
class Source:
    """An open table and the names of its columns by meaning."""

    table: Table
    columns: dict[str, str]

    def __str__(self) -> str:
        return f"{self.table.path} ({self.table.description})"


def open_sources(
    interactions: Path, items: Path | None, naming: Naming | None = None
) -> tuple[Source, Source | None]:
    """Open interactions and items; with a folder of interactions, items are looked for in it.

    Raises:
        InputError: a file is missing, of no known form, or lacks a column.
    """
    naming = naming or AS_FOUND
    if items is None and interactions.is_dir() and find_known(interactions, ITEM_FILES):
        items = interactions
    if items is not None and items.is_dir():
        items = find_table(items, ITEM_FILES, INTERACTION_FILES, "items")
    if interactions.is_dir():
        interactions = find_table(interactions, INTERACTION_FILES, ITEM_FILES, "interactions")
    opened = _open_interactions(_existing(interactions), naming.interactions)
    if items is None:
        return opened, None
    return opened, open_items(items, naming.items, naming.interactions.columns.get(ITEM_ID))


def open_archive(folder: Path) -> Source:
    """Open an archive of `longtail events archive`.

    Raises:
        InputError: there is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder of `longtail events archive`")
    if not any(folder.glob("day=*/*.parquet")):
        raise InputError(f"{folder}: holds no archived events (day=…/….parquet)")
    return _open_interactions(find_table(folder, (), (), "events"), AS_FOUND.interactions)


def _open_interactions(path: Path, naming: FileNaming) -> Source:
    name = without_packing(path.name)
    if name.endswith(".inter"):
        table: Table = open_atomic(path)
    elif name.endswith(".dat"):
        table = open_ratings(path, "::")
    elif name == "u.data":
        table = open_ratings(path, "\t")
    else:
        table = _open_plain(path, naming)
    if isinstance(table, TextTable):
        table = replace(table, with_integers=True)
    return _source(table, naming, (USER_ID, ITEM_ID, TIMESTAMP), (RATING, EVENT_TYPE))


def open_items(
    path: Path,
    naming: FileNaming | None = None,
    item_id_column: str | None = None,
    *,
    needs_title: bool = True,
) -> Source:
    """Open a file of items.

    Args:
        path: the file.
        naming: what was said about its columns.
        item_id_column: what the interactions call the id; it is meant if there is such a column.
        needs_title: whether a file without titles is rejected; changes of items need none.

    Raises:
        InputError: it is missing, of no known form, or lacks a column.
    """
    path, naming = _existing(path), naming or FileNaming()
    name = without_packing(path.name)
    required: tuple[str, ...] = (ITEM_ID, TITLE) if needs_title else (ITEM_ID,)
    if name == "u.item":
        table: Table = open_u_item(path)
    elif name.endswith(".item"):
        # Many of RecBole's data sets have no titles; such items are named by their ids.
        table = open_atomic(path)
        required = (ITEM_ID,)
    elif name.endswith(".dat"):
        table = open_movies_dat(path)
    else:
        table = _open_plain(path, naming)
        if {"movieId", "title"} <= table.schema.keys():
            table = split_titles(table)
    if (
        item_id_column is not None
        and item_id_column in table.schema
        and naming.has_header
        and ITEM_ID not in naming.columns
    ):
        naming = FileNaming({**naming.columns, ITEM_ID: item_id_column}, naming.has_header)
    return _source(table, naming, required, (TITLE,))


def _source(
    table: Table, naming: FileNaming, required: tuple[str, ...], optional: tuple[str, ...]
) -> Source:
    """The table with its columns found, those that a person named first."""
    all_columns = table.columns if isinstance(table, TextTable) else list(table.schema)
    named = find_named(table, all_columns, naming)
    if isinstance(table, TextTable):
        table = table.with_names(named.values())
    try:
        columns = named | find_columns(
            table,
            [meaning for meaning in required if meaning not in named],
            [meaning for meaning in optional if meaning not in named],
        )
    except InputError as error:
        raise _with_hint(error, table, "item-" if TITLE in optional else "") from error
    if isinstance(table, TextTable):
        _check_names_are_single(table, columns, named)
    for meaning in (RATING, EVENT_TYPE):  # without which the rows are of use, too
        if meaning in columns and not can_hold(table.schema[columns[meaning]], meaning):
            del columns[meaning]
    check_types(table, {m: name for m, name in columns.items() if m != TITLE})
    return Source(table, columns)


def _with_hint(error: InputError, table: Table, of_items: str) -> InputError:
    """The error, and what to say if the file has no header or other names.

    `of_items` begins the names of flags that are about the catalogue: "item-", or "".
    """
    if isinstance(table, TextTable):
        if any(any(c.isdigit() for c in name) and not name[:1].isalpha() for name in table.schema):
            return InputError(f"{error}; if its first line is a row, say --no-{of_items}header")
        if len(table.columns) == 1:
            return InputError(f"{error}; fields are separated by comma, semicolon, tab or bar")
    example = ""
    if isinstance(error, MissingColumnsError):
        example = f": --{of_items}columns {','.join(f'{m}=NAME' for m in error.meanings)}"
    return InputError(f"{error}; --{of_items}columns names columns{example}")


def _check_names_are_single(
    table: TextTable, columns: dict[str, str], named: dict[str, str]
) -> None:
    for meaning, name in columns.items():
        if meaning not in named and name in table.form.repeated:
            raise InputError(
                f"{table.path}: the header names {name!r} twice; say which is the {meaning} by "
                f"its number: --columns {meaning}=1"
            )


def _open_plain(path: Path, naming: FileNaming) -> Table:
    if path.is_dir():
        parts = [Part(_open_plain(file.path, naming), file.given) for file in part_files(path)]
        if not parts:
            raise InputError(f"{path}: holds no tables")
        return PartsTable(path, parts)
    if is_parquet(path):
        return ParquetTable(path)
    return open_csv(path, has_header=naming.has_header)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: is no file")
    return path
