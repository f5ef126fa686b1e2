"""Data sets of one's own: odd ids, bad rows, unusable files."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import ConfigError, InputError
from offline.data import tables, text_tables
from offline.data.dataset import Dataset, read_dataset
from offline.data.issues import Issue, IssueKind, Issues
from offline.data.namings import parse_naming


def histories(dataset: Dataset) -> dict[str, list[str]]:
    interactions = dataset.interactions
    return {
        user_id: [interactions.item_ids.id_of(i) for i in interactions.history(user)]
        for user, user_id in enumerate(interactions.user_ids)
    }


# The tests' times are small numbers, which tests of times and of ties look at.
ABOUT_TIMES = (IssueKind.IMPLAUSIBLE_TIMES, IssueKind.TIED, IssueKind.NEWEST_FIRST)


def lines_about_rows(dataset: Dataset) -> list[str]:
    return [str(issue) for issue in dataset.issues if issue.kind not in ABOUT_TIMES]


def written(folder: Path, interactions: str, items: str | None = None) -> Path:
    (folder / "interactions.csv").write_text(interactions, encoding="utf-8")
    if items is not None:
        (folder / "items.csv").write_text(items, encoding="utf-8")
    return folder


LONG_ID = "x" * 200
ODD_IDS = ["007", "7", " 7 ", "été 映画", LONG_ID, "a b", "1e5", "null", "№|#"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_odd_ids_stay_as_they_stand(tmp_path, form):
    frame = pl.DataFrame(
        {"user_id": ODD_IDS, "item_id": ODD_IDS[::-1], "timestamp": range(len(ODD_IDS))}
    )
    path = tmp_path / f"mine.{form}"
    frame.write_csv(path) if form == "csv" else frame.write_parquet(path)
    dataset = read_dataset(path)
    assert dataset.interactions.user_ids == ODD_IDS
    assert list(dataset.interactions.item_ids.ids) == ODD_IDS[::-1]
    assert lines_about_rows(dataset) == []
    assert dataset.interactions.ratings is None
    assert dataset.attributes.names == ()
    assert dataset.attributes.n_items == len(ODD_IDS)


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


GOOD = "user_id,item_id,timestamp\nu,a,1\n"


@pytest.mark.parametrize(
    ("interactions", "items", "reason"),
    [
        ("", None, r"interactions.csv: is empty"),
        ("user_id,item_id\nu,a\n", None, r"interactions.csv: no column 'timestamp'"),
        ("user_id,item_id,timestamp\n", None, r"interactions.csv: has no rows"),
        ("user_id,item_id,timestamp\nu,a\n", None, r"none of its rows can be used: .*line 2"),
        ("user_id,item_id,timestamp\nu,a,x\n", None, r"none .* unreadable timestamp .*line 2: 'x'"),
        ("just a text\nof two lines\n", None, r"interactions.csv: no column 'user_id'"),
        (GOOD, "item_id,colour\na,red\n", r"items.csv: no column 'title'"),
        (GOOD, "item_id,title\n", r"items.csv: has no rows"),
        (GOOD, "item_id,title\n,A\n", r"items.csv: none of its rows can be used: .*line 2"),
    ],
)
def test_files_that_cannot_be_used_are_rejected_in_one_line(tmp_path, interactions, items, reason):
    with pytest.raises(InputError, match=reason) as rejection:
        read_dataset(written(tmp_path, interactions, items))
    assert "\n" not in str(rejection.value)


def test_items_are_rejected_before_interactions_are_read(tmp_path):
    folder = written(tmp_path, "user_id,item_id,timestamp\nall,rows,bad\n", "item_id\na\n")
    with pytest.raises(InputError, match=r"items\.csv: no column 'title'"):
        read_dataset(folder)


def test_a_missing_file_and_an_unsuitable_folder_are_rejected(tmp_path):
    with pytest.raises(InputError, match="nothing: no such file"):
        read_dataset(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no interactions"):
        read_dataset(tmp_path)
    written(tmp_path, GOOD)
    with pytest.raises(InputError, match=r"items\.csv: no such file"):
        read_dataset(tmp_path, tmp_path / "items.csv")
    (tmp_path / "interactions.tsv").write_text(GOOD)
    with pytest.raises(InputError, match=r"both interactions\.csv and interactions\.tsv"):
        read_dataset(tmp_path)


def test_parquet_that_is_none_and_types_that_do_not_fit_are_rejected(tmp_path):
    path = tmp_path / "mine.parquet"
    path.write_bytes(b"user_id,item_id,timestamp\n")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_dataset(path)
    pl.DataFrame({"user_id": [["u"]], "item_id": ["a"], "timestamp": [1]}).write_parquet(path)
    with pytest.raises(InputError, match=r"column 'user_id' of type List\(String\)"):
        read_dataset(path)
    pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "timestamp": [True]}).write_parquet(path)
    with pytest.raises(InputError, match="column 'timestamp' of type Boolean"):
        read_dataset(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_dataset(path)


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


@pytest.mark.parametrize(
    "name", ["items.npy", "user_ids.json", "attributes.json", "issues.json", "readings.json"]
)
def test_a_damaged_saved_data_set_is_rejected(tmp_path, name):
    read_dataset(written(tmp_path, GOOD)).save(tmp_path / "saved")
    (tmp_path / "saved" / name).write_bytes(b"\x93 damaged")
    with pytest.raises(InputError, match="saved"):
        Dataset.load(tmp_path / "saved")


def test_text_dates_are_read_and_ties_are_counted(tmp_path):
    text = (
        "user_id,item_id,timestamp\nu,c,2019-10-03\nu,b,2019-10-02\nu,x,2019-10-02\n"
        "u,a,2019-10-01\nv,b,2019-10-02\nv,a,2019-10-01\n"
    )
    dataset = read_dataset(written(tmp_path, text))
    assert histories(dataset) == {"u": ["a", "b", "x", "c"], "v": ["a", "b"]}
    tied, newest_first = dataset.issues.lines()
    assert tied == (
        "interactions.csv: 2 rows at the time of another of the same user, kept in the file's "
        "order (such as of user 'u'; …)"
    )
    assert "the file is newest first" in newest_first
    assert dataset.readings[2].detail == "YYYY-MM-DD, taken as UTC"


def test_times_that_cannot_be_are_dropped_where_few_and_said_where_many(tmp_path):
    good = "".join(f"u{n},{n % 3},1570959{n:03}\n" for n in range(20))
    head = "user_id,item_id,timestamp\n"
    dataset = read_dataset(written(tmp_path, head + good + "u20,1,170"))  # cut off
    assert len(dataset.interactions) == 20
    [line] = dataset.issues.lines()
    assert line.endswith("with a time before 1980 or in the future dropped (line 22: 170)")
    dataset = read_dataset(written(tmp_path, head + "u,a,20990101\nu,b,20990102\n"))
    assert len(dataset.interactions) == 2
    [line] = dataset.issues.lines()
    assert "2 rows with a time before 1980 or in the future kept (line 2" in line


def test_days_that_cannot_be_told_from_months_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"column 'date': '01/02/2019' can be 1 Feb.* or 2 Jan"):
        read_dataset(written(tmp_path, "user_id,item_id,date\nu,a,01/02/2019\n"))


def test_a_person_can_say_what_columns_are(tmp_path):
    folder = written(
        tmp_path,
        "user_id,item_id,timestamp\nu,a,01/02/2019\n",
        'item_id,title,taste,code\na,A,"sweet, sour",5\n',
    )
    said = parse_naming([], [], kinds=["taste=list,code=text", "timestamp=month-first"])
    dataset = read_dataset(folder, naming=said)
    assert dataset.attributes.row(1) == {"title": "A", "taste": ["sweet", "sour"], "code": "5"}
    assert dataset.interactions.timestamps.tolist() == [
        datetime(2019, 1, 2, tzinfo=UTC).timestamp()
    ]
    hint = written(tmp_path, GOOD, 'item_id,title,taste\na,A,"sweet, sour"\n')
    assert "--kinds taste=list" in read_dataset(hint).issues.lines()[0]
    with pytest.raises(InputError, match="no column 'tase' to be a list"):
        read_dataset(hint, naming=parse_naming([], [], kinds=["tase=list"]))
    for wrong in ("taste", "taste=lists", "timestamp=list", "=list"):
        with pytest.raises(ConfigError, match="--kinds"):
            parse_naming([], [], kinds=[wrong])


def test_ids_that_a_program_wrote_with_a_fraction_meet_the_catalogue(tmp_path):
    folder = written(
        tmp_path,
        "user_id,item_id,timestamp\n1.0,7.0,1\n1.0,101.0,2\n2.0,7.0,1\n",
        "item_id,title\n7,Seven\n101,Many\n",
    )
    dataset = read_dataset(folder)
    assert histories(dataset) == {"1": ["7", "101"], "2": ["7"]}
    assert dataset.issues.count(IssueKind.ITEM_NOT_IN_CATALOGUE) == 0
    assert dataset.interactions.n_items == 2


def test_ids_meet_however_their_letters_are_composed(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    folder = written(
        tmp_path,
        f"user_id,item_id,timestamp\nu,{decomposed},1\nu,th\u00e9,2\nu,the\u0301,3\n",
        f"item_id,title\n{composed},Coffee\n",
    )
    dataset = read_dataset(folder)
    assert histories(dataset) == {"u": [composed, "th\u00e9", "the\u0301"]}


def test_an_interaction_without_a_usable_rating_stays_one(tmp_path):
    rows = "u;a;1;4,5\nu;b;2;\nu;c;3;n/a\nu;d;4;3\nu;e;5;bad\n"
    dataset = read_dataset(written(tmp_path, "user_id;item_id;timestamp;rating\n" + rows))
    assert histories(dataset) == {"u": ["a", "b", "c", "d", "e"]}
    ratings = dataset.interactions.ratings
    expected = np.array([4.5, np.nan, np.nan, 3, np.nan], dtype=np.float32)
    np.testing.assert_equal(ratings, expected)
    assert dataset.issues.count(IssueKind.NO_RATING) == 1
    assert dataset.readings[-1].detail == "numbers with a decimal comma"


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
