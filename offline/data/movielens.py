"""Reads MovieLens in its own forms.

Films come out with the same attributes from every form: `title`, `year` (number), `genres` (list).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from offline.data.tables import ReshapedTable, Table
from offline.data.text_tables import TextTable, open_headless

# "Toy Story (1995)", also "… (1995) (V)" for video, and "… (2006–2007)" for series.
TITLE_AND_YEAR = r"^(.*\S)\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*(?:\(T?VG?\))?\s*$"
NO_GENRES = "(no genres listed)"

RATINGS_COLUMNS = ("user_id", "item_id", "rating", "timestamp")
MOVIES_COLUMNS = ("item_id", "title", "genres")
# The genres of u.item are one column of 0 or 1 each, in the order of its u.genre.
GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
# Older forms are Latin-1, newer ones UTF-8; hardly any Latin-1 text is also valid UTF-8.
ENCODINGS = ("utf-8", "latin-1")


def open_ratings(path: Path, separator: str) -> TextTable:
    """Open `ratings.dat` (separator "::") or `u.data` (tab)."""
    return open_headless(path, RATINGS_COLUMNS, separator)


def open_movies_dat(path: Path) -> ReshapedTable:
    """Open `movies.dat`."""
    return split_titles(open_headless(path, MOVIES_COLUMNS, "::", ENCODINGS))


def open_u_item(path: Path) -> ReshapedTable:
    """Open `u.item`; dates and addresses in it are left out, as in RecBole's form of it."""
    names = _genres_of_folder(path)
    columns = ("item_id", "title", "released", "released on video", "address", *names)
    inner = open_headless(path, columns, "|", ENCODINGS)
    flags = [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in names]

    def reshape(frame: pl.DataFrame) -> pl.DataFrame:
        genres = pl.concat_list(flags).list.drop_nulls().alias("genres")
        return frame.select("item_id", "title", genres)

    schema = {"item_id": pl.String(), "title": pl.String(), "genres": pl.List(pl.String)}
    return split_titles(ReshapedTable(inner, schema, reshape))


def split_titles(inner: Table) -> ReshapedTable:
    """Films with the year out of their titles as a column of its own, if there is none yet."""
    schema = {name: inner.schema[name] for name in inner.schema}
    has_year = "year" in schema
    if not has_year:
        names = [*schema]
        names.insert(names.index("title") + 1, "year")
        schema = {name: schema.get(name, pl.String()) for name in names}
    title = pl.col("title").str.strip_chars()

    def reshape(frame: pl.DataFrame) -> pl.DataFrame:
        if not has_year:
            frame = frame.with_columns(
                title.str.extract(TITLE_AND_YEAR, 2).alias("year"),
                pl.coalesce(title.str.extract(TITLE_AND_YEAR, 1), title).alias("title"),
            )
        if frame.schema.get("genres") == pl.String:
            frame = frame.with_columns(
                pl.when(pl.col("genres") != NO_GENRES).then(pl.col("genres").str.split("|"))
            )
        return frame.select(list(schema))

    if schema.get("genres") == pl.String:
        schema["genres"] = pl.List(pl.String)
    return ReshapedTable(inner, schema, reshape)


def _genres_of_folder(path: Path) -> tuple[str, ...]:
    """Genre names of the `u.genre` in the folder of a `u.item`, or the published ones."""
    genre_file = path.with_name("u.genre")
    if not genre_file.is_file():
        return GENRES_100K
    lines = genre_file.read_text(encoding="latin-1").splitlines()
    return tuple(line.split("|")[0] for line in lines if line.strip())
