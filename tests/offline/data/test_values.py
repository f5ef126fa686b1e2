"""Times, ratings and ids as they stand in the fields of people's files."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from model_store.errors import ConfigError, InputError
from offline.data.dataset import read_dataset
from offline.data.issues import IssueKind
from offline.data.namings import parse_naming
from tests.offline.data.reading import GOOD, histories, lines_about_rows, written

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
