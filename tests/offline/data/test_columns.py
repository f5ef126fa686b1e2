from pathlib import Path

import pytest

from model_store.errors import InputError
from offline.data.columns import find_columns
from offline.data.text_tables import open_csv


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
