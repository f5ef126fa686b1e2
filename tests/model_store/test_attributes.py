import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.attributes import Attribute, ItemAttributes, _fits, _surely_fit
from model_store.errors import BundleError, InputError


def catalogue() -> ItemAttributes:
    return ItemAttributes(
        [
            Attribute("title", "text", ["Toy Story", None, "Señorita 映画"]),
            Attribute("year", "number", [1995, 1996.5, None]),
            Attribute("genres", "list", [["Comedy", "Children's"], [], None]),
        ],
        n_items=3,
    )


def test_a_row_holds_every_attribute_and_none_where_missing():
    assert catalogue().row(1) == {
        "title": "Toy Story",
        "year": 1995,
        "genres": ["Comedy", "Children's"],
    }
    assert catalogue().row(3) == {"title": "Señorita 映画", "year": None, "genres": None}


def test_fields_choose_and_unknown_fields_are_left_out():
    assert catalogue().row(2, fields=["genres", "nonsense"]) == {"genres": []}
    assert catalogue().row(2, fields=[]) == {}


def test_rows_are_the_row_of_each_item():
    fields = ["year", "genres", "nonsense"]
    rows = catalogue().rows([3, 1, 3], fields)
    assert rows == [catalogue().row(index, fields) for index in (3, 1, 3)]
    assert [*rows[0]] == ["year", "genres"]
    assert rows[0] is not rows[2]
    assert catalogue().rows([1, 2], ["nonsense"]) == [{}, {}]


@pytest.mark.parametrize("item_index", [0, -1, 4])
def test_padding_and_out_of_range_indices_are_rejected(item_index):
    with pytest.raises(IndexError, match=str(item_index)):
        catalogue().row(item_index)
    title = catalogue().get("title")
    assert title is not None
    with pytest.raises(IndexError, match=str(item_index)):
        title.value_of(item_index)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 5),
        ("text", ["a"]),
        ("list", "a"),
        ("list", [1]),
        ("number", "1995"),
        ("number", True),
        ("number", float("nan")),
        ("number", float("inf")),
        ("colour", "red"),
    ],
)
def test_a_value_of_another_kind_is_rejected(kind, value):
    with pytest.raises(ValueError, match="attribute 'x'"):
        Attribute("x", kind, [value])


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**54), 2**54),
    st.floats(),
    st.text(max_size=3) | st.sampled_from(["\ud83d", "\ude00", ""]),
    st.lists(st.sampled_from(["a", "\ud83d", "é"]) | st.none() | st.integers(0, 2), max_size=2),
)


@settings(max_examples=400)
@given(
    st.sampled_from(["text", "list", "number", "boolean"]),
    st.lists(ODD, max_size=3) | st.lists(st.floats(), max_size=3) | st.lists(st.text(), max_size=3),
)
def test_values_looked_at_together_fit_as_they_do_one_by_one(kind, values):
    assert _surely_fit(kind, values) == all(_fits(kind, value) for value in values)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [("text", "a", "\ud83d"), ("list", ["a"], ["a", 1]), ("number", 1, 2**53 + 1)],
)
def test_the_first_value_that_does_not_fit_is_named_in_a_long_column(kind, good, bad):
    with pytest.raises(ValueError, match="at item_index 5001 is no"):
        Attribute("x", kind, [*[good] * 5_000, bad, good, bad])


def test_columns_must_match_the_catalogue():
    with pytest.raises(ValueError, match="2 values for 3 items"):
        ItemAttributes([Attribute("x", "number", [1, 2])], n_items=3)
    with pytest.raises(ValueError, match="given twice"):
        ItemAttributes([Attribute("x", "number", [1]), Attribute("x", "text", [None])], n_items=1)


def test_new_items_go_behind_the_present_ones():
    grown = catalogue().extended([{"title": "Fresh", "year": 2026}, {}])
    assert grown.n_items == 5
    assert [grown.row(i) for i in (1, 2, 3)] == [catalogue().row(i) for i in (1, 2, 3)]
    assert grown.row(4) == {"title": "Fresh", "year": 2026, "genres": None}
    assert grown.row(5) == {"title": None, "year": None, "genres": None}


def test_new_items_that_do_not_fit_are_rejected():
    with pytest.raises(InputError, match="'colour' is not one of"):
        catalogue().extended([{"colour": "red"}])
    with pytest.raises(InputError, match="'next year' is no number"):
        catalogue().extended([{"year": "next year"}])


def test_whole_numbers_stay_ints_through_a_file(tmp_path: Path):
    catalogue().save(tmp_path / "attributes.json")
    loaded = ItemAttributes.load(tmp_path / "attributes.json")
    assert loaded == catalogue()
    assert json.dumps(loaded.row(1)["year"]) == "1995"


values = {
    "text": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    "list": st.none() | st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
    "number": st.none()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False),
}


@given(st.data())
def test_loading_gives_back_the_saved_attributes(tmp_path_factory, data):
    n_items = data.draw(st.integers(0, 5))
    names = data.draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True))
    columns = []
    for name in names:
        kind = data.draw(st.sampled_from(sorted(values)))
        column = data.draw(st.lists(values[kind], min_size=n_items, max_size=n_items))
        columns.append(Attribute(name, kind, column))
    attributes = ItemAttributes(columns, n_items)
    path = tmp_path_factory.mktemp("law") / "attributes.json"
    attributes.save(path)
    assert ItemAttributes.load(path) == attributes


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"n_items": 1, "attributes": [{"name": "x", "kind": "text", "values": []}]}',
        b'{"n_items": 1, "attributes": [{"name": "x", "kind": "text", "values": [5]}]}',
        b'{"n_items": 1, "attributes": [{"name": "x", "kind": [], "values": ["a"]}]}',
    ],
)
def test_a_damaged_file_is_rejected(tmp_path: Path, content):
    path = tmp_path / "attributes.json"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"attributes\.json"):
        ItemAttributes.load(path)


def test_equal_values_take_memory_once(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("model_store.attributes._MAX_SHARED", 3)
    columns = [
        Attribute("shelf", "text", ["front", "back", "front", None]),
        Attribute("genres", "list", [["a", "b"], ["a"], ["a", "b"], []]),
        Attribute("title", "text", ["1", "2", "3", "4"]),
        Attribute("year", "number", [1, 1.0, 2, None]),
    ]
    saved = ItemAttributes(columns, 4)
    saved.save(tmp_path / "attributes.json")
    loaded = ItemAttributes.load(tmp_path / "attributes.json")
    assert loaded == saved
    for name in ("shelf", "genres"):
        first, _, third, _ = loaded.get(name).values
        assert first is third
    assert [type(value) for value in loaded.get("year").values] == [int, float, int, type(None)]


def test_a_missing_file_is_rejected(tmp_path: Path):
    with pytest.raises(BundleError, match=r"attributes\.json"):
        ItemAttributes.load(tmp_path / "attributes.json")
