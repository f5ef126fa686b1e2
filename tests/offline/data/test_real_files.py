"""Files as people have them: packed, in other encodings, with other headers and names."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable

import polars as pl
import pytest
import zstandard

import longtail
from model_store.errors import InputError
from offline.data.dataset import read_dataset
from offline.data.issues import IssueKind, Issues
from offline.data.namings import parse_naming
from offline.data.text_tables import open_csv
from tests.offline.data.reading import CSV, HISTORIES, histories


def zipped(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_slash_", "/").replace("_dot_", "."), content)
    return target.getvalue()


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": lambda b: zstd(b[:40]) + zstd(b[40:]),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda b: zipped(shop_slash_mine_dot_csv=b, __MACOSX_slash__dot__mine=b"x"),
}


@pytest.mark.parametrize("name", ["mine.csv.{}", "export"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_files_are_read_whatever_they_are_called(tmp_path, packing, name):
    path = tmp_path / name.format(packing)
    path.write_bytes(PACKINGS[packing](CSV.encode()))
    dataset = read_dataset(path)
    assert histories(dataset) == HISTORIES
    assert dataset.issues.lines() == []
    [line] = dataset.files
    assert packing[:2] in line


@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_files_that_are_cut_or_damaged_are_rejected(tmp_path, packing):
    path = tmp_path / f"mine.csv.{packing}"
    # Random ids, so that a good part of the packed file is their content.
    rows = "".join(f"u{n * n % 7919},i{n**3 % 7907},{10**9 + n}\n" for n in range(3000))
    whole = PACKINGS[packing](b"user_id,item_id,timestamp\n" + rows.encode())
    for content in (whole[: len(whole) * 2 // 3], whole[:500] + bytes(200) + whole[700:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"mine\.csv\..*can't be unpacked") as rejection:
            read_dataset(path)
        assert "\n" not in str(rejection.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (zipped(a_dot_csv=b"x", b_dot_csv=b"y"), r"an archive of 2 files \(a\.csv, b\.csv\)"),
        (zipped(**{"[Content_Types]_dot_xml": b"x"}), "a spreadsheet"),
        (gzip.compress(bytes(257) + b"ustar" + bytes(300), mtime=0), "a tar archive"),
        (b'{"user_id": "u"}\n', "is JSON, expected CSV or Parquet"),
        (b'[\n {"user_id": "u"}]', "is JSON"),
        (b"<!DOCTYPE html><p>Sign in", "is HTML"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"ARROW1\0\0", "an Arrow"),
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
    ],
)
def test_files_of_other_forms_are_rejected_by_name(tmp_path, content, reason):
    path = tmp_path / "interactions.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as rejection:
        read_dataset(path)
    assert "\n" not in str(rejection.value)


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "windows-1252"]
)
@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_encodings_and_line_breaks_are_found(tmp_path, encoding, line_break):
    path = tmp_path / "mine.csv"
    path.write_bytes(CSV.replace("\n", line_break).encode(encoding))
    dataset = read_dataset(path)
    assert histories(dataset) == HISTORIES
    expected = [4] if encoding == "windows-1252" else []
    assert [dataset.issues.count(IssueKind.NOT_UTF8)] == [len(expected)]


def test_old_line_breaks_among_new_ones_and_zero_bytes_cost_no_other_row(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(b"user_id,item_id,timestamp\nu,a,1\ru,b,2\ru,c,3\nu,\0,4\n" + bytes(30))
    dataset = read_dataset(path)
    assert histories(dataset) == {"u": ["a", "b", "c"]}
    assert dataset.issues.count(IssueKind.CONTROL_CHARACTER) == 1
    assert dataset.issues.count(IssueKind.FIELD_COUNT) == 1


ROWS = "{s}".join(["u", "a", "1000000000"]), "{s}".join(["u", "b", "1000000001"])


@pytest.mark.parametrize(
    "header",
    [
        '\ufeff"user_id"{s}"item_id"{s}"timestamp"',
        " User ID {s} item-id {s}TimeStamp ",
        "sep={s}\nuser_id{s}item_id{s}timestamp",
        '"sep={s}"\n\nuser_id{s}item_id{s}timestamp',
        "# exported on 1 May; by hand, for you\nuser_id{s}item_id{s}timestamp",
        "#user_id{s}item_id{s}timestamp",
        "# two\n# comments\n#user_id{s}item_id{s}timestamp",
        '"user\nid"{s}"item id"{s}timestamp',
        "[user_id]{s}`item_id`{s}timestamp",
    ],
)
@pytest.mark.parametrize("separator", [",", "|"])
def test_headers_with_quirks_are_read(tmp_path, header, separator):
    path = tmp_path / "mine.csv"
    text = "\n".join([header, *ROWS]).replace("{s}", separator)
    path.write_text(text, encoding="utf-8", newline="")
    dataset = read_dataset(path)
    assert histories(dataset) == {"u": ["a", "b"]}
    assert dataset.issues.lines() == []


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (",a,b\n0,1,2\n", ["a", "b"]),  # as pandas writes its index
        ("a,b,,\n1,2,,\n", ["a", "b"]),
        ("a,b\n1,2,\n3,4,\n", ["a", "b"]),
        ("a,b,\n1,2\n3,4\n", ["a", "b"]),
        ("a,b,a\n1,2,3\n", ["a", "b", "a (column 3)"]),
    ],
)
def test_columns_without_a_name_are_left_out_and_names_made_different(tmp_path, text, columns):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    table = open_csv(path)
    assert list(table.schema) == columns
    issues = Issues()
    [batch] = table.batches(["a", "b"], issues)
    assert batch.frame.row(0) == ("1", "2")
    assert issues.lines() == []


def test_a_needed_name_that_stands_twice_is_rejected_until_its_number_is_said(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("user_id,item_id,timestamp,user_id\nx,a,1,u\n")
    with pytest.raises(InputError, match=r"names 'user_id' twice; .*--columns user_id=1"):
        read_dataset(path)
    naming = parse_naming(["user_id=4"], [])
    assert histories(read_dataset(path, None, naming)) == {"u": ["a"]}


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("user,id|item,x|at\nu|a,b,c|1\nu|b|2\n", "|"),
        ('item_id;"title, long";price\na;"x, y; z";9,99\nb;x, y;4,50\n', ";"),
        ("a\tb, c\n1\t2\n2\t3, 4, 5\n", "\t"),
        ("a,b|c\n1,x|y|z\n2,x\n3,x|y\n", ","),
        ("title\nThe good, the bad; and|so on\n", ","),
    ],
)
def test_the_separator_is_found_by_content(tmp_path, text, separator):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    assert open_csv(path).form.separator == separator


def test_columns_are_named_by_a_person(tmp_path):
    (tmp_path / "clicks.csv").write_text("visitor;sku;ts;junk\nu;a;1000000000;x\n")
    (tmp_path / "shop.csv").write_text("sku,label\na,A thing\n")
    naming = parse_naming(["user_id=visitor,item_id=sku", "timestamp=TS,title=label"], [])
    dataset = read_dataset(tmp_path / "clicks.csv", tmp_path / "shop.csv", naming)
    assert histories(dataset) == {"u": ["a"]}
    assert dataset.attributes.row(1) == {"title": "A thing"}
    frame = pl.DataFrame({"visitor": ["u"], "sku": ["a"], "ts": [1_000_000_000]})
    frame.write_parquet(tmp_path / "clicks.parquet")
    assert histories(read_dataset(tmp_path / "clicks.parquet", None, naming)) == {"u": ["a"]}


@pytest.mark.parametrize(("separator", "quote"), [(",", ""), ("\t", '"'), (";", ""), ("|", '"')])
def test_files_without_a_header_are_read_by_numbers(tmp_path, separator, quote):
    rows = [["u", "a", "x", "1000000000"], ["u", "b", "#", "1000000001"]]
    (tmp_path / "clicks").write_text(
        "\n".join(separator.join(f"{quote}{f}{quote}" for f in row) for row in rows)
    )
    (tmp_path / "shop").write_text("1,a,An item\n2,b,Another\n")
    naming = parse_naming(
        ["user_id=1,item_id=2,timestamp=4"],
        ["item_id=2,title=3"],
        has_header=False,
        has_item_header=False,
    )
    dataset = read_dataset(tmp_path / "clicks", tmp_path / "shop", naming)
    assert histories(dataset) == {"u": ["a", "b"]}
    assert dataset.attributes.row(2)["title"] == "Another"
    assert dataset.issues.lines() == []


def test_what_is_said_about_columns_is_checked(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("visitor,sku,ts\nu,a,1\n")
    for said, reason in (
        ("user_id=visiter,item_id=sku,timestamp=ts", "did you mean 'visitor'"),
        ("user_id=9,item_id=sku,timestamp=ts", "user_id=9, but it has 3 columns"),
        ("user_id=visitor", "no column 'item_id'"),
    ):
        with pytest.raises(InputError, match=reason):
            read_dataset(path, None, parse_naming([said], []))
    path.write_text("196,242,881250949\n186,302,891717742\n")
    with pytest.raises(InputError, match="if its first line is a row, say --no-header"):
        read_dataset(path)


def test_flags_name_columns_for_every_command(tmp_path, capsys):
    path = tmp_path / "log.txt"
    path.write_text("u|1000000000|a\nu|1000000001|b\n")
    said = ["--no-header", "--columns", "user_id=1,item_id=3", "--columns", "timestamp=2"]
    assert longtail.main(["inspect", "--interactions", str(path), *said]) == 0
    out = capsys.readouterr().out
    assert f"interactions: {path} (bars between fields)" in out
    assert "2 of 1 user" in out
    for wrong, reason in (
        (["--columns", "user=1"], "did you mean 'user_id'"),
        (["--columns", "user_id"], "--columns 'user_id': expected user_id=NAME"),
        (["--columns", "user_id=1,item_id=1"], "'1' can't be both user_id and item_id"),
        (["--columns", "user_id=1", "--columns", "user_id=2"], "user_id is both '1' and '2'"),
        (["--no-header"], "--no-header: say which column is which"),
        (["--no-item-header"], "--no-item-header: say which column is which"),
    ):
        assert longtail.main(["inspect", "--interactions", str(path), *wrong]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert reason in line


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_long_fields_are_read(tmp_path, separator):
    long = "x y\n" * 35_000
    path = tmp_path / "items.csv"
    path.write_text(f'item_id{separator}title\n1{separator}"{long}"\n2{separator}"z"\n')
    table = open_csv(path)
    issues = Issues()
    rows = [row for b in table.batches(table.columns, issues) for row in b.frame.rows()]
    assert rows == [("1", long), ("2", "z")]
    assert issues.lines() == []


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize(
    "titles",
    [
        ['"Heroes', "Lost", 'The "Wire"', '7" Single', '"Weeds'],
        ["Lost", "Lost", '"Weeds', "Lost", "Lost"],
        ['"Weeds" again', '"Heroes', 'Heroes"', "Lost", '"'],
    ],
)
def test_quotes_that_are_letters_cost_no_row(tmp_path, separator, titles):
    path = tmp_path / "items.csv"
    lines = [separator.join([f"{n}", title, "1"]) for n, title in enumerate(titles)]
    path.write_text("\n".join([separator.join(["item_id", "title", "year"]), *lines]))
    table = open_csv(path)
    issues = Issues()
    frame = pl.concat([batch.frame for batch in table.batches(table.columns, issues)])
    assert frame["title"].to_list() == titles
    n_first = sum(t.startswith('"') for t in titles)
    assert issues.count(IssueKind.QUOTE_AS_LETTER) == n_first
