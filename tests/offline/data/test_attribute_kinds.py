from datetime import date, time, timedelta
from decimal import Decimal

import polars as pl
import pytest

from offline.data.attribute_kinds import can_be_attribute, infer_attribute


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1995", " 2001", ""], "number", [1995, 2001, None]),
        (["1995", "3.5", "-2e3", None], "number", [1995.0, 3.5, -2000.0, None]),
        (["1995.0", "1996.0"], "number", [1995, 1996]),
        (["01234", "98101"], "text", ["01234", "98101"]),
        (["98111"] * 40 + ["02134"], "text", ["98111"] * 40 + ["02134"]),
        (["9,99", "10", "n/a", ""], "number", [9.99, 10.0, None, None]),
        (["1.299,00", "9,5"], "number", [1299.0, 9.5]),
        (["1,299", "999"], "number", [1299, 999]),
        (["€ 9.99", "€10"], "number", [9.99, 10.0]),
        (["$5", "€5"], "text", ["$5", "€5"]),
        (["12 %", "3%"], "number", [12, 3]),
        (["5"] * 40 + ["89014103211118510720"], "text", ["5"] * 40 + ["89014103211118510720"]),
        (["1e22", "5"], "number", [1e22, 5.0]),
        (["89014103211118510720", "1.5"], "text", ["89014103211118510720", "1.5"]),
        (["05.50", "12"], "text", ["05.50", "12"]),
        (["true", "FALSE", "", "n/a"], "boolean", [True, False, None, None]),
        (["yes", "no"], "boolean", [True, False]),
        (["Y", "n"], "boolean", [True, False]),
        (["WAHR", "FALSCH"], "boolean", [True, False]),
        (["m", "f"], "text", ["m", "f"]),
        (["t", "t"], "text", ["t", "t"]),
        (["1", "0"], "number", [1, 0]),
        (["true", "maybe"], "text", ["true", "maybe"]),
        (["x;y", "y"], "list", [["x", "y"], ["y"]]),
        (["R&amp;D", "x"], "text", ["R&amp;D", "x"]),
        (
            ["Action, Drama", "Drama", "War, Action"],
            "list",
            [["Action", "Drama"], ["Drama"], ["War", "Action"]],
        ),
        (["Paris, France", "Lyon, France"], "text", ["Paris, France", "Lyon, France"]),
        (["Doe, Jane", "Roe, Sam"], "text", ["Doe, Jane", "Roe, Sam"]),
        (["['space', 'war']", "[]", None], "list", [["space", "war"], [], None]),
        (["('a', 'b')"], "list", [["a", "b"]]),
        (["['a' 'b c']"], "list", [["a", "b c"]]),
        (['{a,"b c"}', "{}"], "list", [["a", "b c"], []]),
        (["<python><pandas>"], "list", [["python", "pandas"]]),
        (['{"a": 1}'], "text", ['{"a": 1}']),
        (["[[1]]"], "text", ["[[1]]"]),
        (["[" * 5000 + "]" * 5000], "text", ["[" * 5000 + "]" * 5000]),
        (['["ok", "cut \\ud83d"]'], "list", [["ok", "cut \ufffd"]]),
        (["['cut \\ud83d']"], "list", [["cut \ufffd"]]),
        (["12,34,567.50", "1,00,000"], "number", [1234567.5, 100000.0]),
        (["1’299.50", "9.5"], "number", [1299.5, 9.5]),
        (["١٢٫٥", "٣"], "number", [12.5, 3.0]),
        (["(5.00)", "3.5"], "number", [-5.0, 3.5]),
        (["5.00-", "3.5"], "number", [-5.0, 3.5]),
        (["2019-10"], "text", ["2019-10"]),
        (["01-23-45", "5"], "text", ["01-23-45", "5"]),
        (
            ['[{"id": 1, "name": "Action"}, {"id": 2, "name": "War"}]', "[]"],
            "list",
            [["Action", "War"], []],
        ),
        (["[{'id': 1, 'name': 'Action'}]"], "list", [["Action"]]),
        (['[{"id": 1}]'], "text", ['[{"id": 1}]']),
        (['"a","b"', '"b","c"', '"c","a"'], "list", [["a", "b"], ["b", "c"], ["c", "a"]]),
        (
            ["动作，剧情", "剧情", "战争，动作"],
            "list",
            [["动作", "剧情"], ["剧情"], ["战争", "动作"]],
        ),
        (
            ["Action/Drama", "Drama", "War/Action"],
            "list",
            [["Action", "Drama"], ["Drama"], ["War", "Action"]],
        ),
        (["a\nb", "b", "c\na"], "list", [["a", "b"], ["b"], ["c", "a"]]),
        (["1/2", "3/4"], "text", ["1/2", "3/4"]),
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
        (pl.Series([True, None]), "boolean", [True, None]),
        (pl.Series([timedelta(minutes=1), None]), "number", [60, None]),
        (pl.Series([time(9), None]), "text", ["09:00:00", None]),
        (pl.Series([Decimal("9.99"), None]), "number", [9.99, None]),
        (pl.Series([2**70], dtype=pl.Decimal(38, 0)), "text", [str(2**70)]),
        (pl.Series([7], dtype=pl.Decimal(38, 0)), "number", [7]),
        (pl.Series([[True], None]), "list", [["true"], None]),
        (pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)), "list", [["1", "2"]]),
        (pl.Series([None, None]), "text", [None, None]),
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
        (pl.List(pl.Duration), False),
        (pl.Duration(), True),
        (pl.Struct({"a": pl.String}), False),
        (pl.List(pl.Struct({"a": pl.String})), False),
        (pl.Binary(), False),
    ],
)
def test_types_that_can_be_attributes(dtype, can):
    assert can_be_attribute(dtype) is can


def test_where_a_list_is_only_likely_it_is_said():
    assert (
        infer_attribute("taste", pl.Series(["sweet, sour", "salt"])).perhaps == "lists between ','"
    )
    assert infer_attribute("genres", pl.Series(["Action, Drama", "War"])).attribute.kind == "list"
    assert infer_attribute("plot", pl.Series(["a, b", "b, a"])).perhaps == ""
    paths = infer_attribute("category path", pl.Series(["Home > Kitchen", "Home > Garden"]))
    assert paths.attribute.values == [["Home", "Kitchen"], ["Home", "Garden"]]
    assert infer_attribute("x", pl.Series(["Home > Pans", "Yard"])).perhaps == "lists between ' > '"


@pytest.mark.parametrize(
    ("values", "asked", "expected"),
    [
        (["sweet, sour", "salt", None], "list", [["sweet", "sour"], ["salt"], None]),
        (["a", None], "list", [["a"], None]),
        (["1995", None], "text", ["1995", None]),
        (["a|b"], "text", ["a|b"]),
        (["true"], "text", ["true"]),
        (["2134", "98101", "x"], "number", [2134, 98101, None]),
        (["1", "0", "x"], "boolean", [True, False, None]),
    ],
)
def test_a_person_can_say_what_a_column_is(values, asked, expected):
    column = infer_attribute("x", pl.Series(values), asked)
    assert column.attribute.kind == asked
    assert column.attribute.values == expected
    assert list(column.not_numbers) == ([2] if "x" in values else [])


def test_details_say_how_a_column_was_read():
    details = {
        "9,99": "numbers with a decimal comma",
        "€ 1,299.50": "numbers with a decimal point and with separated thousands and in €",
        "02134": "codes: '02134' has a leading zero",
        "['a']": "lists as Python writes them",
        "a;b": "lists between ';'",
        "yes": "yes/no",
        "<p>x</p>": "with HTML, which item texts leave out",
        "https://x.org/a.png": "addresses, left out of item texts",
        "2019-10-01 09:00": "dates, left out of item texts",
        "red": "as it stands",
    }
    for text, detail in details.items():
        assert infer_attribute("x", pl.Series([text])).detail == detail
