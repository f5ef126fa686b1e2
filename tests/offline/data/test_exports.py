"""Interactions and catalogues as databases, spreadsheets and other programs export them."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import polars as pl
import pytest

from model_store.errors import InputError
from offline.data.dataset import Dataset, read_dataset
from offline.data.issues import IssueKind
from tests.offline.data.reading import histories

HEADER = "user_id,item_id,timestamp"
ROWS = ("u,a,1700000000", "u,b,1700000001", "v,a,1700000002")
PLAIN = "\n".join([HEADER, *ROWS]) + "\n"
READ = {"u": ["a", "b"], "v": ["a"]}


def read(folder: Path, content: str | bytes, items: str | None = None) -> Dataset:
    path = folder / "clicks.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if items is None:
        return read_dataset(path)
    (folder / "shop.csv").write_text(items)
    return read_dataset(path, folder / "shop.csv")


def numbered(*lines: str) -> str:
    return "\n".join(f'"{n}",{line}' for n, line in enumerate(lines, start=1))


EXPORTS = {
    "psql": " user_id | item_id | timestamp\n---------+---------+-----\n"
    + "".join(f" {row.replace(',', ' | ')}\n" for row in ROWS)
    + "(3 rows)\n",
    "mysql": "+----+---+---+\n"
    + "".join(f"| {row.replace(',', ' | ')} |\n" for row in (HEADER, *ROWS))
    + "+----+---+---+\n",
    "R": f"{HEADER}\n{numbered(*ROWS)}\n",
    "a blank behind each comma": PLAIN.replace(",", ", "),
    "blanks and quotes": "\n".join(
        ", ".join(f'"{field}"' for field in row.split(",")) for row in (HEADER, *ROWS)
    ),
    "single quotes": "\n".join(
        ",".join(f"'{field}'" for field in row.split(",")) for row in (HEADER, *ROWS)
    ),
    "a report with titles": f"Report of clicks\nMade today\n\n{PLAIN}",
    "comments of SQL": f"-- exported\n{PLAIN}",
    "comments of C": f"// exported, by hand\n{PLAIN}",
    "Hive": PLAIN.replace(",", "\x01"),
    "carets": PLAIN.replace(",", "^"),
    "blanks between fields": PLAIN.replace(",", " "),
    "units in the header": PLAIN.replace("timestamp", "Timestamp (UTC)"),
    "Google Analytics": PLAIN.replace(HEADER, "user_pseudo_id,item_id,event_timestamp"),
    "Amazon": PLAIN.replace(HEADER, "reviewerID,asin,unixReviewTime"),
    "a shop": PLAIN.replace(HEADER, "Customer ID,Product ID,Created at"),
    "epochs in quotes": "\n".join([HEADER, *(row.replace(",17", ",'17") + "'" for row in ROWS)]),
}


@pytest.mark.parametrize("content", EXPORTS.values(), ids=EXPORTS)
def test_interactions_are_read_as_programs_export_them(tmp_path: Path, content: str) -> None:
    dataset = read(tmp_path, content)
    assert histories(dataset) == READ
    n_lost = sum(issue.count for issue in dataset.issues if issue.kind.is_loss)
    assert n_lost == dataset.issues.count(IssueKind.FIELD_COUNT)  # rules and "(3 rows)" alone


def test_a_header_within_the_rows_is_no_item_and_no_interaction(tmp_path: Path) -> None:
    items = "item_id,title\na,Thing\n"
    dataset = read(tmp_path, PLAIN + PLAIN.replace("u,", "w,"), items + items.replace("a,", "b,"))
    assert histories(dataset) == {**READ, "w": ["a", "b"]}
    assert list(dataset.interactions.item_ids.ids) == ["a", "b"]
    assert dataset.issues.count(IssueKind.REPEATED_HEADER, "shop.csv") == 1


def test_words_for_no_value_among_ids_that_are_numbers_are_none(tmp_path: Path) -> None:
    rows = ["7.0,1.0,1700000000", "NULL,2.0,1700000001", "8.0,nan,1700000002", "9.0,2.0,1700000003"]
    dataset = read(tmp_path, "\n".join([HEADER, *rows]), "item_id,title\n1,A\n2,B\nnan,?\n")
    assert histories(dataset) == {"7": ["1"], "9": ["2"]}
    assert list(dataset.interactions.item_ids.ids) == ["1", "2"]
    assert dataset.issues.count(IssueKind.MISSING_USER) == 1
    assert dataset.issues.count(IssueKind.MISSING_ITEM) == 2


def test_ids_that_a_spreadsheet_shortened_are_pointed_at(tmp_path: Path) -> None:
    rows = ["u,1.23457E+12,1700000000", "u,7,1700000001", "1.5E+10,7,1700000002"]
    dataset = read(tmp_path, "\n".join([HEADER, *rows]), "item_id,title\n1.23457E+12,A\n7,B\n")
    assert histories(dataset) == {"u": ["1.23457E+12", "7"], "1.5E+10": ["7"]}
    assert dataset.issues.count(IssueKind.SHORTENED_ID, "clicks.csv") == 2
    assert dataset.issues.count(IssueKind.SHORTENED_ID, "shop.csv") == 1


def test_a_rating_or_a_type_that_cannot_be_one_costs_no_row(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"user_id": ["u"], "item_id": ["a"], "timestamp": [10**9], "rating": [True], "event": [[1]]}
    )
    frame.write_parquet(tmp_path / "clicks.parquet")
    dataset = read_dataset(tmp_path / "clicks.parquet")
    assert histories(dataset) == {"u": ["a"]}
    assert [reading.meaning for reading in dataset.readings][3:] == ["not read", "not read"]


@pytest.mark.parametrize(
    "names",
    [
        ["part-00000-1b2c3d4e", "part-00001-1b2c3d4e"],
        ["000000_0", "000001_0"],  # Hive
        ["0000_part_00", "0001_part_00"],  # Redshift
        ["export-000000000000", "export-000000000001"],  # BigQuery
    ],
)
def test_parts_without_a_suffix_are_one_table(tmp_path: Path, names: list[str]) -> None:
    folder = tmp_path / "clicks"
    folder.mkdir()
    for name, rows in zip(names, (ROWS[:2], ROWS[2:]), strict=True):
        (folder / name).write_text("\n".join([HEADER, *rows]))
    (folder / "manifest.json").write_text("{}")
    assert histories(read_dataset(folder)) == READ


def test_a_frame_of_zstd_may_begin_with_a_comment(tmp_path: Path) -> None:
    import zstandard

    comment = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    dataset = read(tmp_path, comment + zstandard.compress(PLAIN.encode()))
    assert histories(dataset) == READ


def tarred(content: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("clicks.csv"), io.BytesIO(content))
    # A time in it would be in the test's id, which all workers must agree on.
    return gzip.compress(target.getvalue(), mtime=0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"7z\xbc\xaf\x27\x1c\0\4", "an archive; unpack it"),
        (b"Rar!\x1a\x07\x01\0", "an archive; unpack it"),
        (b"\x04\x22\x4d\x18" + bytes(99), "packed in a form not read here"),
        (b"PK\x05\x06" + bytes(18), "an archive of 0 files"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
        (b"INSERT INTO clicks VALUES ('u', 'a', 1);\n", "SQL"),
        (b"<table><tr><td>user_id</td></tr></table>", "HTML"),
        (b'["user_id", "item_id"]\n', "JSON"),
        (tarred(b""), "a tar archive"),
    ],
)
def test_other_forms_are_rejected_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as rejection:
        read(tmp_path, content)
    assert "\n" not in str(rejection.value)


def test_what_is_packed_twice_is_rejected_by_name(tmp_path: Path) -> None:
    import bz2

    with pytest.raises(InputError, match="packed twice; unpack it once"):
        read(tmp_path, gzip.compress(bz2.compress(PLAIN.encode())))


def test_what_is_said_of_a_catalogue_names_its_own_flags(tmp_path: Path) -> None:
    said = "--item-columns names columns: --item-columns item_id=NAME,title=NAME$"
    with pytest.raises(InputError, match=said) as rejection:
        read(tmp_path, PLAIN, "handle,label\na,Thing\nb,Other\n")
    assert "no column 'item_id', no 'title' (its columns: handle, label)" in str(rejection.value)
