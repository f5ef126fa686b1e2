from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import InputError
from offline.data.columns import as_ids, as_numbers, as_unix_s, find_columns
from offline.data.text_tables import open_csv

MOMENT_S = 978300760.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("978300760", MOMENT_S),
        (" 978300760 ", MOMENT_S),
        ("978300760.25", MOMENT_S + 0.25),
        ("9.7830076e8", MOMENT_S),
        ("978300760000", MOMENT_S),
        ("978300760000000", MOMENT_S),
        ("978300760000000000", MOMENT_S),
        ("2000-12-31T22:12:40Z", MOMENT_S),
        ("2000-12-31 22:12:40", MOMENT_S),
        ("2001-01-01T00:12:40+02:00", MOMENT_S),
        ("2000-12-31T22:12:40.250", MOMENT_S + 0.25),
        ("1970-01-02", 86400.0),
        ("1969-12-31", -86400.0),
        ("0", 0.0),
        ("-5", -5.0),
        ("", None),
        (None, None),
        ("yesterday", None),
        ("nan", None),
        ("inf", None),
        ("31/12/2000", None),
    ],
)
def test_times_as_text(text, expected):
    values = pl.Series([text, "5"], dtype=pl.String)
    assert as_unix_s(values).to_list() == [expected, 5.0]


def test_times_of_typed_columns():
    two_hours = timezone(timedelta(hours=2))
    for values in (
        pl.Series([978300760]),
        pl.Series([978300760_000]),
        pl.Series([978300760.0]),
        pl.Series([datetime(2000, 12, 31, 22, 12, 40)]),
        pl.Series([datetime(2000, 12, 31, 22, 12, 40)], dtype=pl.Datetime("ns")),
        pl.Series([datetime(2001, 1, 1, 0, 12, 40, tzinfo=two_hours)]),
    ):
        assert as_unix_s(values).to_list() == [MOMENT_S], values.dtype
    assert as_unix_s(pl.Series([date(1970, 1, 2), None])).to_list() == [86400.0, None]
    assert as_unix_s(pl.Series([float("nan"), None, 3.0])).to_list() == [None, None, 3.0]


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)))
def test_a_time_is_the_same_in_every_form(moment):
    moment = moment.replace(microsecond=0)
    seconds = int(moment.replace(tzinfo=timezone.utc).timestamp())  # noqa: UP017
    forms = [str(seconds), moment.isoformat(), moment.isoformat() + "Z", f"{seconds}.0"]
    if seconds * 1000 >= 1e11:
        forms.append(str(seconds * 1000))
    assert as_unix_s(pl.Series(forms)).to_list() == [float(seconds)] * len(forms)


def test_ids_stay_as_they_stand():
    odd = ["007", " 7 ", "été", "映画", "x" * 200, "1e5", "7.0", ""]
    assert as_ids(pl.Series(odd)).to_list() == odd
    assert as_ids(pl.Series([7, -7, None])).to_list() == ["7", "-7", None]
    assert as_ids(pl.Series([2**64 - 1], dtype=pl.UInt64)).to_list() == [str(2**64 - 1)]
    assert as_ids(pl.Series(["b", "a"], dtype=pl.Categorical)).to_list() == ["b", "a"]
    assert as_ids(pl.Series([7.0, None, 7.5])).to_list() == ["7", None, "7.5"]


def test_numbers():
    texts = ["5", " 3.5 ", "", None, "good", "nan", "inf"]
    assert as_numbers(pl.Series(texts)).to_list() == [5.0, 3.5, None, None, None, None, None]


def opened(tmp_path: Path, header: str):
    path = tmp_path / "t.csv"
    path.write_text(header + "\n")
    return open_csv(path)


@pytest.mark.parametrize(
    "header",
    [
        "user_id,item_id,timestamp",
        "userId,movieId,rating,timestamp",
        "User ID;Item ID;TS",
        "uid,item,time",
        "product_id,user,date",
    ],
)
def test_columns_go_by_obvious_names(tmp_path, header):
    table = opened(tmp_path, header)
    found = find_columns(table, ("user_id", "item_id", "timestamp"), ("rating",))
    assert set(found) >= {"user_id", "item_id", "timestamp"}
    assert ("rating" in found) == ("rating" in header)
    assert set(found.values()) <= set(table.columns)


def test_the_contracts_name_goes_before_others(tmp_path):
    table = opened(tmp_path, "user,user_id,item,timestamp,date")
    found = find_columns(table, ("user_id", "item_id", "timestamp"))
    assert found == {"user_id": "user_id", "item_id": "item", "timestamp": "timestamp"}


def test_a_missing_and_an_ambiguous_column_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no column 'timestamp' \(its columns: user, item\)"):
        find_columns(opened(tmp_path, "user,item"), ("user_id", "item_id", "timestamp"))
    with pytest.raises(InputError, match="both 'User' and 'USER' could be 'user_id'"):
        find_columns(opened(tmp_path, "User,USER"), ("user_id",))
