"""Descriptions of films from another data set, for those with the same title and year.

What a person could look up about an item is the most that knowledge of it can be worth; benchmarks
compare an LLM's texts with these.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from model_store.attributes import AttributeValue, ItemAttributes
from model_store.errors import InputError
from offline.data.tables import first_line

ITEMS, REFERENCE = "items.parquet", "items_reference.parquet"
YEAR_COLUMNS = ("year", "release_year")

_ARTICLE_LAST = re.compile(r"^(.*), (the|an?|l[ae']s?|il|el|der|die|das)$")
_NO_LETTERS = re.compile(r"[^a-z0-9]+")


def match_reference_texts(attributes: ItemAttributes, n_items: int, folder: Path) -> list[str]:
    """A description of each item_index 1..N; "" for an item without one.

    Args:
        attributes: with a title and a year.
        n_items: N.
        folder: of the other data set: `items.parquet` with item_id, title and year, and
            `items_reference.parquet` with item_id and columns of text.

    Raises:
        InputError: a file can't be read, or lacks a column.
    """
    items = _read(folder / ITEMS, ("item_id", "title", "year"))
    described = {
        str(row.pop("item_id")): _describe(row)
        for row in _read(folder / REFERENCE, ("item_id",)).iter_rows(named=True)
    }
    texts: dict[tuple[str, str], str] = {}
    for row in items.iter_rows(named=True):
        key = _key(row["title"], row["year"])
        if key is not None:
            texts.setdefault(key, described.get(str(row["item_id"]), ""))
    return [_text_of(attributes.row(item), texts) for item in range(1, n_items + 1)]


def _text_of(row: dict[str, AttributeValue], texts: dict[tuple[str, str], str]) -> str:
    year = next((row[name] for name in YEAR_COLUMNS if row.get(name) is not None), None)
    key = _key(row.get("title"), year)
    return "" if key is None else texts.get(key, "")


def _key(title: object, year: object) -> tuple[str, str] | None:
    """Title and year as two catalogues write them alike; None if there is no title or year."""
    if title is None or year is None:
        return None
    decomposed = unicodedata.normalize("NFKD", str(title)).lower()
    ascii_title = decomposed.encode("ascii", "ignore").decode().partition("(")[0].strip()
    if found := _ARTICLE_LAST.match(ascii_title):
        ascii_title = f"{found[2]} {found[1]}"
    key = _NO_LETTERS.sub(" ", ascii_title).strip()
    return (key, str(year)) if key else None


def _describe(row: dict[str, object]) -> str:
    """A line a column, `Director: John Lasseter`; missing ones left out."""
    return "\n".join(
        f"{name.capitalize()}: {' '.join(str(value).split())}"
        for name, value in row.items()
        if value is not None
    )


def _read(path: Path, needed: Sequence[str]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: can't be read ({first_line(error)})") from error
    if missing := [name for name in needed if name not in frame.columns]:
        raise InputError(f"{path}: lacks the column {missing[0]!r}")
    return frame
