"""Data sets of one's own: their order, their rows and what is said about bad ones."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.data import tables, text_tables
from offline.data.dataset import Dataset, read_dataset
from offline.data.issues import Issue, IssueKind, Issues
from tests.offline.data.reading import histories, lines_about_rows, written


def test_order_is_by_time_and_ties_keep_file_order(tmp_path):
    text = "user_id,item_id,timestamp\nu,z,5\nv,q,1\nu,b,2\nu,a,5\nu,m,2\nu,z,9\n"
    dataset = read_dataset(written(tmp_path, text))
    assert histories(dataset) == {"u": ["b", "m", "z", "a", "z"], "v": ["q"]}
    assert dataset.interactions.timestamps.tolist() == [2, 2, 5, 5, 9, 1]


def test_items_are_numbered_by_the_catalogue_then_by_first_appearance(tmp_path):
    folder = written(
        tmp_path,
        "user_id,item_id,timestamp\nu,new2,9\nu,b,1\nv,new1,1\nv,new2,2\n",
        "item_id,title\nb,B\ncold,C\na,A\n",
    )
    dataset = read_dataset(folder)
    assert dataset.interactions.item_ids.ids == ("b", "cold", "a", "new2", "new1")
    title = dataset.attributes.get("title")
    assert title is not None
    assert title.values == ["B", "C", "A", None, None]
    [line] = lines_about_rows(dataset)
    assert line.startswith("interactions.csv: 3 rows of items that the catalogue lacks kept")
    assert line.endswith("(item 'new2'; item 'new1'; …)")


def test_every_bad_row_is_counted_and_named_with_its_line(tmp_path):
    rows = [
        "u,a,1,5",  # line 2
        ",a,1,5",
        "u,,1,5",
        "u,a,,5",
        "u,a,yesterday,5",
        "u,x,2,good",  # line 7
        "u,y,2,",
        "u\x07,a,2,5",
        f"u,{'i' * 513},2,5",
        f"u,{'i' * 512},2,5",
        "u,a,2",  # line 12
        "",
        "u,a,1,4",
        "  ,a,1,4",
        "u,b,2,3.5",
    ]
    path = tmp_path / "mine.csv"
    path.write_text("user_id,item_id,timestamp,rating\n" + "\n".join(rows))
    dataset = read_dataset(path)
    assert histories(dataset) == {"u": ["a", "x", "y", "i" * 512, "b"]}
    ratings = dataset.interactions.ratings
    np.testing.assert_equal(ratings, np.array([5, np.nan, np.nan, 5, 3.5], dtype=np.float32))
    assert [line.removeprefix("mine.csv: ") for line in lines_about_rows(dataset)] == [
        (
            "1 row with another number of fields than the header dropped "
            "(line 12: 3 fields instead of 4)"
        ),
        "2 rows without a user id dropped (line 3; line 15)",
        r"1 row with a control character in an id dropped (line 9: 'u\x07')",
        "1 row without an item id dropped (line 4)",
        f"1 row with an id longer than 512 characters dropped (line 10: '{'i' * 40}…')",
        "1 row without a timestamp dropped (line 5)",
        "1 row with an unreadable timestamp dropped (line 6: 'yesterday')",
        "1 row with a rating that is no number kept without it (line 7: 'good')",
        (
            "1 row repeating user, item and timestamp of an earlier one dropped "
            "(line 14: user 'u', item 'a')"
        ),
    ]


def test_lines_are_right_behind_quoted_line_breaks(tmp_path):
    text = 'user_id,item_id,timestamp,note\nu,a,1,"two\nlines"\nu,b,soon,x\n'
    dataset = read_dataset(written(tmp_path, text))
    assert lines_about_rows(dataset) == [
        "interactions.csv: 1 row with an unreadable timestamp dropped (line 4: 'soon')"
    ]


def test_parquet_counts_rows_and_takes_typed_columns(tmp_path):
    path = tmp_path / "mine.parquet"
    pl.DataFrame(
        {
            "userId": [1, None, 3],
            "movieId": [10.0, 11.0, None],
            "ts": [datetime(1970, 1, 2), None, None],
            "rating": [4, 5, 3],
        }
    ).write_parquet(path)
    dataset = read_dataset(path)
    assert histories(dataset) == {"1": ["10"]}
    assert dataset.interactions.timestamps.tolist() == [86400.0]
    assert lines_about_rows(dataset) == [
        "mine.parquet: 1 row without a user id dropped (row 2)",
        "mine.parquet: 1 row without an item id dropped (row 3)",
    ]


def test_bad_and_repeated_items_are_reported(tmp_path):
    folder = written(
        tmp_path,
        "user_id,item_id,timestamp\nu,a,1\n",
        "item_id,name,year,tags\n"
        'a,First,1995,"[""x"", ""y""]"\n'
        "b,,1996,\n,Lost,1997,\na,Second,1998,\n",
    )
    dataset = read_dataset(folder)
    assert dataset.attributes.names == ("title", "year", "tags")
    assert dataset.attributes.row(1) == {"title": "First", "year": 1995, "tags": ["x", "y"]}
    assert dataset.attributes.row(2) == {"title": None, "year": 1996, "tags": None}
    assert lines_about_rows(dataset) == [
        "items.csv: 1 row without an item id dropped (line 4)",
        "items.csv: 1 row repeating the item id of an earlier one dropped (line 5: 'a')",
        "items.csv: 1 row without a title kept (line 3: 'b')",
    ]


def test_parquet_columns_become_attributes_of_their_kind(tmp_path):
    written(tmp_path, "user_id,item_id,timestamp\nu,1,1\n")
    pl.DataFrame(
        {
            "item_id": [1, 2],
            "title": ["A", None],
            "tags": [["x", "y"], None],
            "price": [9.5, None],
            "stock": [3, 0],
            "place": ["here", ""],  # named like the column that rows are placed by
            "made of": [{"a": 1}, {"a": 2}],
        }
    ).write_parquet(tmp_path / "items.parquet")
    dataset = read_dataset(tmp_path)
    kinds = {n: a.kind for n in dataset.attributes.names if (a := dataset.attributes.get(n))}
    assert kinds == {
        "title": "text",
        "tags": "list",
        "price": "number",
        "stock": "number",
        "place": "text",
    }
    assert dataset.attributes.row(2) == {
        "title": None,
        "tags": None,
        "price": None,
        "stock": 0,
        "place": None,
    }
    assert dataset.issues.count(IssueKind.COLUMN_NOT_READ) == 1
    assert lines_about_rows(dataset) == [
        (
            "items.parquet: 1 column that can't become an attribute left out "
            "('made of' of type Struct({'a': Int64}))"
        ),
        "items.parquet: 1 row without a title kept (row 2: '2')",
    ]


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(tables, "BATCH_ROWS", 2)
    monkeypatch.setattr(text_tables, "BLOCK_BYTES", 40)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("rows", [2, 3, 4])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_batch_without_a_good_row_costs_its_rows_alone(tmp_path, form, rows):
    """A last batch of no row at all, or of rows without ids, or a last line that is cut off."""
    frame = pl.DataFrame(
        {
            "user_id": ["u", "u", None, None][:rows],
            "item_id": ["a", "b", "c", "d"][:rows],
            "timestamp": [1, 2, 3, 4][:rows],
        }
    )
    path = tmp_path / f"mine.{form}"
    if form == "csv":
        frame.write_csv(path, quote_style="always")
        path.write_text(path.read_text() + '"u2","10"')
    else:
        frame.write_parquet(path)
    dataset = read_dataset(path)
    assert histories(dataset) == {"u": ["a", "b"]}
    assert dataset.issues.count(IssueKind.MISSING_USER) == rows - 2
    assert dataset.issues.count(IssueKind.FIELD_COUNT) == (form == "csv")


ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=4).filter(
    lambda text: text.strip()
)
rows = st.lists(st.tuples(ids, ids, st.integers(0, 4)), min_size=1, max_size=30)


@given(rows)
def test_histories_are_a_stable_sort_of_the_file(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("law") / "mine.csv"
    pl.DataFrame(drawn, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(
        path, quote_style="always"
    )
    expected: dict[str, list[tuple[int, str]]] = {}
    for user, item, time in dict.fromkeys(drawn):
        expected.setdefault(user, []).append((time, item))
    dataset = read_dataset(path)
    assert histories(dataset) == {
        user: [item for _, item in sorted(row, key=lambda pair: pair[0])]
        for user, row in expected.items()
    }
    assert dataset.interactions.user_ids == list(expected)
    n_repeated = len(drawn) - len(dict.fromkeys(drawn))
    assert dataset.issues.count(IssueKind.REPEATED_INTERACTION) == n_repeated


def test_a_data_set_is_read_back_as_it_was_saved(tmp_path):
    folder = written(
        tmp_path,
        "user_id,item_id,timestamp,rating\nü,a,5,1\nü,b,1,2.5\nü,c,,2\n",
        "item_id,title,genres\nb,B,x|y\n",
    )
    saved = read_dataset(folder)
    saved.save(tmp_path / "saved")
    loaded = Dataset.load(tmp_path / "saved")
    assert histories(loaded) == histories(saved) == {"ü": ["b", "a"]}
    assert loaded.attributes == saved.attributes
    assert loaded.issues == saved.issues
    assert loaded.issues.lines() == saved.issues.lines()
    assert loaded.readings == saved.readings
    for name in ("offsets", "items", "timestamps", "ratings"):
        before, after = getattr(saved.interactions, name), getattr(loaded.interactions, name)
        np.testing.assert_array_equal(before, after)
        assert before.dtype == after.dtype


def test_users_are_numbered_by_their_first_row_that_is_used(tmp_path):
    text = "user_id,item_id,timestamp\na,x,soon\nb,y,2\n,y,3\na,x,4\n"
    dataset = read_dataset(written(tmp_path, text))
    assert dataset.interactions.user_ids == ["b", "a"]
    assert dataset.interactions.item_ids.ids == ("y", "x")


def test_every_column_of_both_files_has_a_reading(tmp_path):
    folder = written(
        tmp_path,
        "session,userId,item_id,timestamp,rating\ns,u,a,1,4\n",
        "item_id,name,year,tags\na,First,1995,x|y\n",
    )
    readings = read_dataset(folder).readings
    assert [(r.file, r.column, r.meaning, r.kind) for r in readings] == [
        ("items.csv", "item_id", "item_id", "id"),
        ("items.csv", "name", "attribute 'title'", "text"),
        ("items.csv", "year", "attribute 'year'", "number"),
        ("items.csv", "tags", "attribute 'tags'", "list"),
        ("interactions.csv", "session", "not read", None),
        ("interactions.csv", "userId", "user_id", "id"),
        ("interactions.csv", "item_id", "item_id", "id"),
        ("interactions.csv", "timestamp", "timestamp", "time"),
        ("interactions.csv", "rating", "rating", "number"),
    ]


def test_issues_keep_a_few_examples_and_count_all():
    issues = Issues()
    for line in range(10):
        issues.add("f", IssueKind.MISSING_USER, 1, [f"line {line}"])
    issues.add("f", IssueKind.MISSING_ITEM, 0, ["never"])
    assert list(issues) == [Issue("f", IssueKind.MISSING_USER, 10, ["line 0", "line 1", "line 2"])]
    assert issues.count(IssueKind.MISSING_USER) == 10
    assert issues.count(IssueKind.MISSING_USER, "other") == 0
