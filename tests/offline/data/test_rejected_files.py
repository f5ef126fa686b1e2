"""Files of which no data set can be had, and saved ones that were damaged."""

import polars as pl
import pytest

from model_store.errors import InputError
from offline.data.dataset import Dataset, read_dataset
from tests.offline.data.reading import GOOD, written


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


@pytest.mark.parametrize(
    "name", ["items.npy", "user_ids.json", "attributes.json", "issues.json", "readings.json"]
)
def test_a_damaged_saved_data_set_is_rejected(tmp_path, name):
    read_dataset(written(tmp_path, GOOD)).save(tmp_path / "saved")
    (tmp_path / "saved" / name).write_bytes(b"\x93 damaged")
    with pytest.raises(InputError, match="saved"):
        Dataset.load(tmp_path / "saved")
