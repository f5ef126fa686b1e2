from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import InputError
from offline.data import text_tables
from offline.data.issues import IssueKind, Issues
from offline.data.text_tables import TextTable, open_csv, open_headless


def read(table: TextTable, *columns: str) -> tuple[list[int], pl.DataFrame, Issues]:
    issues = Issues()
    batches = list(table.batches(columns or table.columns, issues))
    places = [place for batch in batches for place in batch.places.to_list()]
    return places, pl.concat([batch.frame for batch in batches]), issues


def written(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_separators_quotes_line_breaks_and_marks_are_found_out(
    tmp_path, separator, quote, line_break, bom
):
    rows = [["user", "item"], ["ü 1", "007"], ["2", ""]]
    lines = [separator.join(f"{quote}{field}{quote}" for field in row) for row in rows]
    table = open_csv(written(tmp_path, bom + line_break.join(lines)))
    places, frame, issues = read(table)
    assert frame.rows() == [("ü 1", "007"), ("2", "")]
    assert frame.columns == ["user", "item"]
    assert places == [2, 3]
    assert issues.lines() == []


def test_only_wanted_columns_are_read_in_the_wanted_order(tmp_path):
    _, frame, _ = read(open_csv(written(tmp_path, "a,b,c\n1,2,3\n")), "c", "a")
    assert frame.rows(named=True) == [{"c": "3", "a": "1"}]


def test_lines_are_counted_through_quoted_line_breaks_and_blank_lines(tmp_path):
    text = 'a,b\n1,"one\ntwo\nthree"\n\n2,x\n3\n"4","y"\n'
    places, frame, issues = read(open_csv(written(tmp_path, text)))
    assert places == [2, 6, 8]
    assert frame["b"].to_list() == ["one\ntwo\nthree", "x", "y"]
    [line] = issues.lines()
    assert line == (
        "t.csv: 1 row with another number of fields than the header dropped "
        "(line 7: 1 field instead of 2)"
    )


def test_lines_are_counted_through_blank_lines_without_quotes(tmp_path):
    places, frame, issues = read(open_csv(written(tmp_path, "a,b\n\n1,x\n2\n3,y,z\n4,w")))
    assert places == [3, 6]
    assert frame["a"].to_list() == ["1", "4"]
    assert issues.count(IssueKind.FIELD_COUNT) == 2
    assert "line 4: 1 field " in issues.lines()[0]
    assert "line 5: 3 fields" in issues.lines()[0]


def test_a_short_row_and_a_long_one_do_not_make_up_for_each_other(tmp_path):
    places, frame, issues = read(open_csv(written(tmp_path, "a,b,c\n1,x\n2,y,z\n3,y,z,4\n")), "a")
    assert (places, frame["a"].to_list()) == ([3], ["2"])
    assert issues.count(IssueKind.FIELD_COUNT) == 2


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "odd",
    [[], ["07"], ["+7"], [" 7"], ["-7"], [""], ["", "07"], ["7.0"], ["1e6"], ["x"], ["9" * 25]],
    ids=str,
)
def test_only_plain_digits_come_as_integers(tmp_path, odd, line_break):
    ids = [str(n) for n in range(60)] + odd
    text = line_break.join(["a,b", *(f"{item_id},{n}" for n, item_id in enumerate(ids))])
    table = replace(open_csv(written(tmp_path, text + line_break)), with_integers=True)
    places, frame, _ = read(table)
    assert frame["a"].cast(pl.String).to_list() == ids
    assert places == list(range(2, len(ids) + 2))
    assert frame.schema["a"] == (pl.String if odd else pl.Int64)


def test_a_misplaced_quote_costs_its_row_alone(tmp_path):
    text = 'a,b\n1,"x"y\n2,"z"\n3,5" nail\n'
    places, frame, issues = read(open_csv(written(tmp_path, text)))
    assert frame.rows() == [("2", "z"), ("3", '5" nail')]
    assert places == [3, 4]
    assert issues.lines() == ["t.csv: 1 row with a misplaced quote dropped (line 2)"]


def test_a_quote_that_is_never_closed_costs_its_row_at_most(tmp_path):
    alone = open_csv(written(tmp_path, 'a,b\n1,x\n2,"y\n3,z\n'))
    _, frame, issues = read(alone)
    assert frame.rows() == [("1", "x"), ("2", '"y'), ("3", "z")]
    assert issues.lines() == [
        "t.csv: 1 row with a quote that encloses nothing, taken as a letter (line 3)"
    ]
    among_quotes = open_csv(written(tmp_path, 'a,b\n1,"x"\n2,"y\n3,z\n'))
    _, frame, issues = read(among_quotes)
    assert frame.rows() == [("1", "x"), ("3", "z")]
    assert issues.lines() == ["t.csv: 1 row with a misplaced quote dropped (line 3)"]


STRAYS = '2,"one,x\n3,y,x\n4,two",x\n'


@pytest.mark.parametrize("other", ["", '6,a "b" "c,x\n', '6,"a\n'], ids=["", "letters", "open"])
def test_rows_between_two_stray_quotes_are_pointed_at(tmp_path, other):
    text = 'id,title,kind\n1,"a, b",x\n' + STRAYS + "5,z,x\n" + other
    _, frame, issues = read(open_csv(written(tmp_path, text)))
    assert frame["id"].to_list()[:3] == ["1", "2", "5"]
    [line] = [line for line in issues.lines() if "rows of their own" in line]
    assert line == (
        "t.csv: 1 row with a field in quotes over lines that look like rows of their own, kept as "
        "one row: is a quote there a stray? (line 3: goes on over 3 lines)"
    )


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_texts_over_several_lines_are_no_rows(tmp_path, line_break):
    story = "A story, of x\nhowever, told, twice\nand, 3 times, more\n10 years, on, 1999"
    text = f'id,title,kind\n0,"a, b",x\n1,"{story}",x\nu2,"one, two, three\nfour, five, six",x\n'
    _, frame, issues = read(open_csv(written(tmp_path, text.replace("\n", line_break))))
    assert frame["id"].to_list() == ["0", "1", "u2"]
    assert issues.lines() == []


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(text_tables, "BLOCK_BYTES", 7)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("end", ["", "\n"])
def test_blocks_do_not_show(tmp_path, quote, end):
    rows = [(f"user {n}", "é" * (n % 5)) for n in range(40)]
    text = "u,i\n" + "\n".join(f"{quote}{u}{quote},{i}" for u, i in rows) + end
    places, frame, _ = read(open_csv(written(tmp_path, text)))
    assert frame.rows() == rows
    assert places == list(range(2, 42))


cell = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@given(
    rows=st.lists(st.tuples(cell, cell), min_size=1, max_size=6), separator=st.sampled_from(",;\t")
)
def test_both_readers_give_every_field_exactly(tmp_path_factory, rows, separator):
    folder = tmp_path_factory.mktemp("law")
    quoted = "".join(
        separator.join('"' + field.replace('"', '""') + '"' for field in row) + "\n"
        for row in [("first", "second"), *rows]
    )
    _, frame, _ = read(open_csv(written(folder, quoted)))
    assert frame.rows() == rows
    if not any(
        character in field for row in rows for field in row for character in '"' + separator
    ):
        plain = "".join(separator.join(row) + "\n" for row in [("first", "second"), *rows])
        _, frame, _ = read(open_csv(written(folder, plain)))
        assert frame.rows() == rows


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a\x00\x01\x02,b\n1,2", r"no table of text \(line 1 holds NUL\)"),
        (b'a,"b\n1,2', "line 1 is no header"),
    ],
)
def test_a_file_that_is_no_table_is_rejected_when_opened(tmp_path, content, reason):
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=reason) as rejection:
        open_csv(path)
    assert str(path) in str(rejection.value)
    assert "\n" not in str(rejection.value)


@pytest.mark.parametrize("quote", ["", '"'])
def test_lines_in_another_encoding_are_read_as_windows_1252_and_counted(tmp_path, quote):
    text = f"a,b\n1,{quote}x{quote}\n2,y\n3,Amélie – 5€\n4,z\n"
    _, frame, issues = read(open_csv(written(tmp_path, text.encode("windows-1252"))))
    assert frame["b"].to_list() == ["x", "y", "Amélie – 5€", "z"]
    assert issues.lines() == [
        "t.csv: 1 row in another encoding than UTF-8, read as Windows-1252 (line 4)"
    ]


def test_a_headless_file_takes_the_first_encoding_that_fits(tmp_path):
    for encoding in ("utf-8", "latin-1"):
        path = written(tmp_path, "1::Amélie\n2::x\n".encode(encoding), "t.dat")
        table = open_headless(path, ("id", "title"), "::", ("utf-8", "latin-1"))
        places, frame, _ = read(table)
        assert frame.rows() == [("1", "Amélie"), ("2", "x")]
        assert places == [1, 2]


def test_a_headless_file_with_other_fields_is_rejected(tmp_path):
    path = written(tmp_path, "1,2,3\n", "t.dat")
    with pytest.raises(InputError, match="line 1 has 1 fields between '::', expected 2: id, title"):
        open_headless(path, ("id", "title"), "::")
