"""RecBole's atomic files: tab-separated, with a header of `name:type`.

Types: token (one word), float, and sequences of these separated by spaces. Titles are declared as
sequences of words there, and are texts here.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from model_store.errors import InputError
from offline.data.tables import ReshapedTable
from offline.data.text_tables import open_csv

TYPES = ("token", "token_seq", "float", "float_seq")
# Words of a text, declared as a sequence since RecBole has no type for texts.
TEXT_NAMES = ("title", "name", "description", "text", "plot", "overview", "summary")
# MovieLens as RecBole publishes it, under the names that the other forms of MovieLens have here.
MOVIE_NAMES = {"movie_title": "title", "release_year": "year", "class": "genres", "genre": "genres"}


def open_atomic(path: Path) -> ReshapedTable:
    """Open an `.inter` or `.item` file: sequences become lists, and types leave the names.

    Raises:
        InputError: the header isn't one of `name:type`.
    """
    inner = open_csv(path, separator="\t", quoted=False)
    names, types = [], []
    for column in inner.columns:
        name, _, kind = column.rpartition(":")
        if not name or kind not in TYPES:
            raise InputError(
                f"{path}: the header names {column!r}, expected name:type with a type of "
                f"{', '.join(TYPES)}"
            )
        names.append(name)
        types.append(kind)
    if "movie_title" in names:
        names = [MOVIE_NAMES.get(name, name) for name in names]
    are_lists = [
        kind.endswith("_seq") and not name.lower().endswith(TEXT_NAMES)
        for name, kind in zip(names, types, strict=True)
    ]
    schema: dict[str, pl.DataType] = {
        name: pl.List(pl.String) if is_list else pl.String()
        for name, is_list in zip(names, are_lists, strict=True)
    }
    if len(schema) < len(names):
        raise InputError(f"{path}: the header names a column twice: {', '.join(names)}")

    def reshape(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(
            _as_list(pl.col(column)).alias(name) if is_list else pl.col(column).alias(name)
            for column, name, is_list in zip(inner.columns, names, are_lists, strict=True)
        )

    return ReshapedTable(inner, schema, reshape)


def _as_list(words: pl.Expr) -> pl.Expr:
    """Words as a list, null where there are none."""
    return pl.when(words.str.strip_chars() != "").then(words.str.split(" "))
