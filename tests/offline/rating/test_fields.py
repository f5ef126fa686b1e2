"""Attributes become fields of numbers that no two of them share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_store.attributes import Attribute, ItemAttributes
from offline.rating.fields import ItemFields


def attributes() -> ItemAttributes:
    return ItemAttributes(
        [
            Attribute("title", "text", [f"film {n}" for n in range(40)]),
            Attribute("genres", "list", [["a", "b"], ["b"], [], *[["c", "a", "c"]] * 37]),
            Attribute("year", "number", [None, *range(39)]),
            Attribute("colour", "boolean", [True, False, None, *[True] * 37]),
        ],
        40,
    )


def test_titles_are_left_out_and_other_values_have_numbers_of_their_own(tmp_path: Path) -> None:
    fields = ItemFields.of(attributes())
    assert fields.names == ("genres", "year", "colour")
    assert fields.values[0, :5, :4].tolist() == [
        [0, 0, 0, 0],
        [1, 2, 0, 0],
        [2, 0, 0, 0],
        [0, 0, 0, 0],
        [3, 1, 0, 0],
    ]
    own = [set(column[column > 0].tolist()) for column in fields.values]
    assert own == [{1, 2, 3}, set(range(4, 14)), {14, 15}]
    assert fields.n_values == 15
    fields.save(tmp_path)
    again = ItemFields.load(tmp_path)
    assert again.names == fields.names
    assert np.array_equal(again.values, fields.values)


def test_numbers_are_read_by_tenths_of_the_items_and_missing_ones_not_at_all() -> None:
    year = ItemFields.of(attributes()).values[1, 1:, 0]
    assert year[0] == 0
    assert (np.diff(year[1:]) >= 0).all()
    assert set(np.bincount(year[1:])[4:].tolist()) == {3, 4}


def test_a_catalogue_without_attributes_has_no_fields() -> None:
    fields = ItemFields.of(ItemAttributes([], 3))
    assert (fields.names, fields.n_values, fields.values.shape[:2]) == ((), 0, (0, 4))
