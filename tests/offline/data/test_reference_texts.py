from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from model_store.attributes import Attribute, ItemAttributes
from model_store.errors import InputError
from offline.data.reference_texts import ITEMS, REFERENCE, match_reference_texts


@pytest.fixture
def other(tmp_path: Path) -> Path:
    titles = ["Matrix, The", "City of Lost Children, The (Cité)", "Emma", "Emma", "Alone"]
    years = ["1999", "1995", "1996", "1932", "2000"]
    pl.DataFrame({"item_id": [*"12345"], "title": titles, "year": years}).write_parquet(
        tmp_path / ITEMS
    )
    pl.DataFrame(
        {
            "item_id": [*"1234"],
            "director": ["L. Wachowski", "Jeunet", "McGrath", None],
            "plot": ["A hacker\n learns.", "Dreams.", "A match.", "Another one."],
        }
    ).write_parquet(tmp_path / REFERENCE)
    return tmp_path


def films(titles: list[str | None], years: list[int | None]) -> ItemAttributes:
    return ItemAttributes(
        [Attribute("title", "text", titles), Attribute("year", "number", years)], len(titles)
    )


def test_a_film_is_found_by_title_and_year(other: Path) -> None:
    mine = films(
        ["The Matrix", "City of Lost Children, The", "Emma", "EMMA", "Emma", "Alone", None],
        [1999, 1995, 1996, 1932, 1997, 2000, 1999],
    )
    assert match_reference_texts(mine, 7, other) == [
        "Director: L. Wachowski\nPlot: A hacker learns.",
        "Director: Jeunet\nPlot: Dreams.",
        "Director: McGrath\nPlot: A match.",
        "Plot: Another one.",
        "",  # another year
        "",  # not described
        "",  # no title
    ]


def test_a_file_that_cant_be_used_is_named(tmp_path: Path, other: Path) -> None:
    with pytest.raises(InputError, match=ITEMS):
        match_reference_texts(films(["Emma"], [1996]), 1, tmp_path / "none")
    pl.DataFrame({"item_id": ["1"], "title": ["Emma"]}).write_parquet(other / ITEMS)
    with pytest.raises(InputError, match="lacks the column 'year'"):
        match_reference_texts(films(["Emma"], [1996]), 1, other)
