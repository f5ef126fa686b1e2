"""Tables that lie in several files: parts, partitions, folders."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from model_store.errors import InputError
from offline.data.dataset import Dataset, read_dataset
from offline.data.namings import parse_naming
from offline.inputs import find_source
from tests.offline.data.reading import CSV, HISTORIES, histories


def test_what_is_said_and_every_part_count_for_a_builds_fingerprint(tmp_path):
    folder = tmp_path / "day=1"
    folder.mkdir()
    (folder / "a.csv").write_text(CSV)
    (tmp_path / ".cache").mkdir()
    before = find_source(str(tmp_path), None, None).fingerprint()
    named = find_source(str(tmp_path), None, None, parse_naming(["user_id=item_id"], []))
    assert named.fingerprint() != before
    (tmp_path / ".cache" / "b.csv").write_text(CSV)
    assert find_source(str(tmp_path), None, None).fingerprint() == before
    (folder / "b.csv").write_text(CSV)
    assert find_source(str(tmp_path), None, None).fingerprint() != before


def write_parts(folder: Path, suffix: str, names: list[str]) -> None:
    frame = pl.read_csv(CSV.encode())
    for number, name in enumerate(names):
        path = folder / f"{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = frame[number : number + 1]
        if suffix == "parquet":
            part.write_parquet(path)
        else:
            path.write_bytes(gzip.compress(part.write_csv().encode()))


@pytest.mark.parametrize("suffix", ["parquet", "csv.gz"])
@pytest.mark.parametrize(
    "names",
    [
        ["part-00000-1b2c3d4e", "part-00001-1b2c3d4e", "part-00002-1b2c3d4e"],
        ["day=2019-10-01/a", "day=2019-10-02/a", "day=2019-10-03/b"],
        ["2019-10", "2019-11", "2019-12"],
    ],
)
def test_a_folder_of_parts_is_one_table(tmp_path, suffix, names):
    folder = tmp_path / "clicks"
    write_parts(folder, suffix, names)
    for mark in ("_SUCCESS", ".part-00000.crc", "_committed_1", "part-00009.csv"):
        (folder / mark).write_bytes(b"")
    (folder / "_delta_log").mkdir()
    (folder / "_delta_log" / "0.parquet").write_bytes(b"no table")
    dataset = read_dataset(folder)
    assert histories(dataset) == HISTORIES
    assert "3 files: " in dataset.files[0]


def test_rows_of_parts_are_named_by_their_part(tmp_path):
    folder = tmp_path / "clicks"
    folder.mkdir()
    (folder / "part-1.csv").write_text("user_id,item_id,timestamp\nu,a,1000000001\n")
    (folder / "part-2.csv").write_text(
        "item_id,user_id,timestamp\nb,u,1000000002\nc,,1000000003\nd\n"
    )
    dataset = read_dataset(folder)
    assert histories(dataset) == {"u": ["a", "b"]}
    assert sorted(dataset.issues.lines()) == [
        (
            "clicks: 1 row with another number of fields than the header dropped "
            "(part-2.csv line 4: 1 field instead of 3)"
        ),
        "clicks: 1 row without a user id dropped (part-2.csv line 3)",
    ]


def test_folders_of_partitions_give_columns(tmp_path):
    for day, user in (("2019-10-01", "u"), ("2019-10-02", "a%20b"), ("2019-10-03", "v")):
        folder = tmp_path / f"date={day}" / f"user_id={user}"
        folder.mkdir(parents=True)
        pl.DataFrame({"item_id": ["a"]}).write_parquet(folder / "0.parquet")
    dataset = read_dataset(tmp_path)
    assert histories(dataset) == {"u": ["a"], "a b": ["a"], "v": ["a"]}
    assert np_days(dataset) == [18170, 18171, 18172]


def np_days(dataset: Dataset) -> list[float]:
    return sorted((dataset.interactions.timestamps // 86400).tolist())


def test_types_of_parts_may_differ(tmp_path):
    for name, users in (("1", [7, 8]), ("2", [None, None]), ("3", ["9", "x"])):
        frame = pl.DataFrame(
            {"user_id": users, "item_id": [1.0, 2.0], "timestamp": [10**9, 10**9 + 1]}
        )
        frame.write_parquet(tmp_path / f"{name}.parquet")
    dataset = read_dataset(tmp_path)
    assert histories(dataset) == {"7": ["1"], "8": ["2"], "9": ["1"], "x": ["2"]}
    assert dataset.issues.lines() == [
        f"{tmp_path.name}: 2 rows without a user id dropped (2.parquet row 1; 2.parquet row 2)"
    ]


def test_a_folder_of_several_tables_asks_which(tmp_path):
    (tmp_path / "clicks.csv").write_text(CSV)
    dataset = read_dataset(tmp_path)  # the only one
    assert histories(dataset) == HISTORIES
    assert dataset.files == (f"interactions: {tmp_path / 'clicks.csv'} (commas between fields)",)
    (tmp_path / "buys.csv").write_text(CSV)
    with pytest.raises(InputError, match=r"its 2 files .*\(buys\.csv, clicks\.csv\); name the fi"):
        read_dataset(tmp_path)
    (tmp_path / "interactions.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    assert "interactions.csv.gz" in read_dataset(tmp_path).files[0]


def test_parts_of_different_tables_are_rejected(tmp_path):
    (tmp_path / "part-1.csv").write_text(CSV)
    (tmp_path / "part-2.csv").write_text("item_id,title\na,A\n")
    with pytest.raises(InputError, match=r"are no parts of one table: only one .* 'timestamp'"):
        read_dataset(tmp_path)


def test_both_tables_may_be_folders_in_one(tmp_path):
    write_parts(tmp_path / "interactions.parquet", "parquet", ["part-0", "part-1", "part-2"])
    (tmp_path / "items").mkdir()
    for name in ("a", "b"):
        (tmp_path / "items" / f"part-{name}.csv").write_text(f"item_id,title\n{name},{name}!\n")
    (tmp_path / "items" / "_SUCCESS").write_text("")
    dataset = read_dataset(tmp_path)
    assert histories(dataset) == HISTORIES
    assert dataset.attributes.row(2) == {"title": "b!"}
