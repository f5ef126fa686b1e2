from datetime import date

import polars as pl
import pytest

from offline.data.attribute_kinds import can_be_attribute, infer_attribute


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1995", " 2001", ""], "number", [1995, 2001, None]),
        (["1995", "3.5", "-2e3", None], "number", [1995, 3.5, -2000.0, None]),
        (["1995.0", "1996.0"], "number", [1995, 1996]),
        (["01234", "98101"], "text", ["01234", "98101"]),
        (["red", "5"], "text", ["red", "5"]),
        (["9007199254740992"], "number", [2**53]),
        (["76561198000000000"], "text", ["76561198000000000"]),
        (["nan", "inf"], "text", ["nan", "inf"]),
        (["Comedy|Drama", "Drama", None], "list", [["Comedy", "Drama"], ["Drama"], None]),
        (["a | b"] + ["plain"] * 20, "text", ["a | b"] + ["plain"] * 20),
        (["x" * 65 + "|y"], "text", ["x" * 65 + "|y"]),
        (['["a", "b c"]', "[]", ""], "list", [["a", "b c"], [], None]),
        (["[1, 2]"], "list", [["1", "2"]]),
        (["[not json]", '["a"]'], "text", ["[not json]", '["a"]']),
        ([" spaced ", "  "], "text", ["spaced", None]),
        ([None, ""], "text", [None, None]),
        ([], "text", []),
    ],
)
def test_kinds_of_texts(values, kind, expected):
    attribute = infer_attribute("x", pl.Series("x", values, dtype=pl.String)).attribute
    assert attribute.kind == kind
    assert attribute.values == expected
    assert [type(v) for v in attribute.values] == [type(v) for v in expected]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pl.Series([1, None, 3]), "number", [1, None, 3]),
        (pl.Series([2**53]), "number", [2**53]),
        (pl.Series([2**64 - 1, 1], dtype=pl.UInt64), "text", ["18446744073709551615", "1"]),
        (pl.Series([1e300, 2.0]), "number", [1e300, 2.0]),
        (pl.Series([1995.0, None, float("nan")]), "number", [1995, None, None]),
        (pl.Series([1.5, 2.0]), "number", [1.5, 2.0]),
        (pl.Series([["a", " b ", None, ""], [], None]), "list", [["a", "b"], [], None]),
        (pl.Series([[1, 2]]), "list", [["1", "2"]]),
        (pl.Series([True, None]), "text", ["true", None]),
        (pl.Series([date(2020, 1, 2)]), "text", ["2020-01-02"]),
        (pl.Series(["a", "b"], dtype=pl.Categorical), "text", ["a", "b"]),
    ],
)
def test_kinds_of_typed_columns(values, kind, expected):
    attribute = infer_attribute("x", values).attribute
    assert attribute.kind == kind
    assert attribute.values == expected


def test_a_title_is_a_text_whatever_it_looks_like():
    assert infer_attribute("title", pl.Series(["1984", "2001"])).attribute.values == [
        "1984",
        "2001",
    ]
    assert infer_attribute("title", pl.Series([1984, None])).attribute.values == ["1984", None]
    assert infer_attribute("title", pl.Series(["A|B"])).attribute.kind == "text"


def test_a_few_slips_among_numbers_are_pointed_at():
    column = infer_attribute("year", pl.Series(["1995"] * 30 + ["V"] + ["", "1996"]))
    assert column.attribute.kind == "number"
    assert column.not_numbers == [30]
    assert column.attribute.values[29:] == [1995, None, None, 1996]


@pytest.mark.parametrize(
    ("dtype", "can"),
    [
        (pl.String(), True),
        (pl.List(pl.String), True),
        (pl.List(pl.List(pl.String)), False),
        (pl.Struct({"a": pl.String}), False),
        (pl.List(pl.Struct({"a": pl.String})), False),
        (pl.Binary(), False),
    ],
)
def test_types_that_can_be_attributes(dtype, can):
    assert can_be_attribute(dtype) is can
