"""`longtail inspect` on files that failed somewhere: an answer of use, never a traceback."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

import longtail

HEADER = "user_id,item_id,timestamp\n"
GOOD = HEADER + "".join(
    f"u{user},{101 + (user + step) % 9},{1_700_000_000 + 1_000 * user + step}\n"
    for user in range(6)
    for step in range(4)
)
ITEMS = "item_id,title\n" + "".join(f"{item},Thing {item}\n" for item in range(101, 110))


@dataclass(frozen=True)
class Case:
    """Two files, and words that stand in the answer, be it an inspection or one line on stderr.

    Attributes:
        interactions, items: content of the files; None: no catalogue.
        said: each of these.
        names: of the files.
    """

    interactions: str | bytes
    items: str | bytes | None
    said: tuple[str, ...]
    names: tuple[str, str] = ("interactions.csv", "items.csv")


def timed(*times: str) -> str:
    return HEADER + "".join(f"u{n % 2},{101 + n},{time}\n" for n, time in enumerate(times))


def of_items(column: str, *values: str) -> str:
    rows = "".join(f"{101 + n},Thing,{value}\n" for n, value in enumerate(values))
    return f"item_id,title,{column}\n{rows}"


CASES = {
    "D1 zone word": Case(
        timed(*[f"2019-10-{n:02} 00:00:00 UTC" for n in range(1, 9)]),
        None,
        (
            "YYYY-MM-DD HH:MM:SS UTC",
            "2019-10-01 00:00:00 to 2019-10-08 00:00:00 UTC",
        ),
    ),
    "D2 digits": Case(
        timed(*[f"201910{n:02}093000" for n in range(1, 9)]),
        None,
        ("2019-10-01 09:30:00 to 2019-10-08 09:30:00 UTC",),
    ),
    "D2 dates": Case(
        timed(*[f"201910{n:02}" for n in range(1, 9)]),
        None,
        ("2019-10-01 00:00:00 to 2019-10-08 00:00:00 UTC; dates without times",),
    ),
    "D3 slashes": Case(
        timed(*[f"2019/10/{n:02} 09:00:00" for n in range(1, 9)]),
        None,
        ("2019-10-01 09:00:00 to 2019-10-08 09:00:00 UTC",),
    ),
    "D3 undecided": Case(timed(*[f"0{n}.0{n}.2019" for n in range(1, 9)]), None, ()),
    "D4 long field": Case(GOOD, of_items("text", '"' + "x" * 140_000 + '"'), ()),
    "D5 letters": Case(
        GOOD,
        "item_id\ttitle\n" + "".join(f'{n}\t"Heroes\n' for n in range(101, 106)),
        ("catalogue       5 items",),
    ),
    "D6 decimals": Case(
        re.sub(r",(10\d),", r",\1.0,", GOOD),
        ITEMS,
        ("9 items, 0 without interactions; it has all items that interactions name",),
    ),
    "D7 lists": Case(
        GOOD,
        of_items("genres", *['"Action, Drama"', "\"['space', 'war']\""] * 4),
        ("attribute 'genres'  list",),
    ),
    "D8 comma": Case(
        "user_id;item_id;timestamp;rating\n"
        + "".join(f"u{n % 2};{101 + n};{1_700_000_000 + n};4,5\n" for n in range(8)),
        None,
        (
            "numbers with a decimal comma",
            "  4.5",
        ),
    ),
    "D9 codes": Case(GOOD, of_items("zip", *["98111"] * 7, "02134"), ("codes: '02134' has",)),
    "D10 large": Case(
        GOOD, of_items("sim", *["89014103211118510720"] * 8), ("too long for a number",)
    ),
    "D11 surrogate": Case(
        GOOD, of_items("tags", '"[""ok"", ""cut \\ud83d""]"'), ("attribute 'tags'",)
    ),
    "D12 cut": Case(GOOD + "u2,10", ITEMS, ("1 row",)),
    "D13 cut time": Case(
        GOOD + "u20,102,170",
        ITEMS,
        (
            "1 row with a time before 1980",
            "line 26: 170",
        ),
    ),
    "D15 gzip": Case(
        gzip.compress(GOOD.encode()), None, ("interactions.csv.gz",), ("interactions.csv.gz", "-")
    ),
    "D16 composed": Case(
        GOOD.replace("101", "cafe\u0301"),
        ITEMS.replace("101", "caf\u00e9"),
        ("it has all items that interactions name",),
    ),
    "D17 dates": Case(timed(*[f"2019-10-{n // 3 + 1:02}" for n in range(9)]), None, ("dates",)),
    "D18 everything seen": Case(
        HEADER + "".join(f"u{u},i{i},{1_700_000_000 + i}\n" for u in range(3) for i in range(4)),
        "item_id,title\n" + "".join(f"i{i},Thing\n" for i in range(4)),
        ("12 of 3 users with 4 items",),
    ),
    "D19 bot": Case(
        GOOD + "".join(f"bot,{101 + n % 9},{1_600_000_000 + n}\n" for n in range(10_500)),
        ITEMS,
        ("WARNING: 1 user has far more", "'bot': 10,500 interactions with 9 items"),
    ),
    "D20 repeats": Case(
        HEADER + "".join(f"{row}\n{row}.5\n" for row in GOOD.splitlines()[1:]),
        ITEMS,
        ("% of the test targets stand in", "--repeats runs"),
    ),
    "D21 columns": Case(
        "user_id,item_id,timestamp,event_type,session\n"
        + "".join(f"u{n % 2},{101 + n},{1_700_000_000 + n},view,s1\n" for n in range(8)),
        None,
        ("event types     view 8", "session"),
    ),
    "D22 booleans": Case(GOOD, of_items("fragile", *["true", "false"] * 4), ("boolean",)),
    "D23 markup": Case(GOOD, of_items("html", *["<p>a&nbsp;b</p>"] * 8), ("with HTML",)),
    "D24 other items": Case(
        GOOD,
        "item_id,title\n" + "".join(f"X-{n},Thing\n" for n in range(9)) + "101,Thing\n",
        ("WARNING: the catalogue lacks 8 of the 9 items", "--catalogue-only"),
    ),
}


def content(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


@pytest.mark.parametrize("name", CASES)
def test_every_file_is_understood_or_rejected_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    paths = [tmp_path / file for file in case.names]
    paths[0].write_bytes(content(case.interactions))
    given = ["inspect", "--interactions", str(paths[0])]
    if case.items is not None:
        paths[1].write_bytes(content(case.items))
        given += ["--items", str(paths[1])]
    code = longtail.main(given)
    captured = capsys.readouterr()
    answer = captured.out if code == 0 else captured.err
    if code:
        assert len(captured.err.strip().splitlines()) == 1
        assert str(tmp_path) in captured.err
    assert "Traceback" not in answer
    for words in case.said:
        assert words in answer, answer


DESCRIBED = ("D3 undecided", "D6 decimals", "D12 cut", "D13 cut time", "D19 bot", "D20 repeats")
DESCRIBED += ("D21 columns", "D24 other items")


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_document_says_what_the_text_says(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    (tmp_path / "interactions.csv").write_bytes(content(case.interactions))
    given = ["inspect", "--interactions", str(tmp_path / "interactions.csv")]
    if case.items is not None:
        (tmp_path / "items.csv").write_bytes(content(case.items))
        given += ["--items", str(tmp_path / "items.csv")]
    assert longtail.main(given) == longtail.main([*given, "--json"]) == 0
    text, brace, rest = capsys.readouterr().out.partition("\n{\n")
    document = json.loads(brace + rest)
    assert document["files"] == text.split("\n\n")[0].splitlines()
    for issue in document["issues"]:
        assert f"  {issue['text']}\n" in text
        assert str(issue["count"]) in issue["text"]
    assert [f"WARNING: {one}" for one in document["warnings"]] == re.findall("WARNING: .*", text)
    for column in document["columns"]:
        assert f"{column['meaning']} " in text
        assert column["detail"] in text
    assert f"{document['interactions']:,} of {document['users']:,} user" in text
    assert f"{document['times']['first']} to {document['times']['last']} UTC" in text
    assert len(document["sample_interactions"]) == 5


def test_parquet_types_are_understood_or_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "interactions.csv").write_text(GOOD)
    ids = pl.Series([str(item) for item in range(101, 110)])
    columns = {
        "seconds": pl.Series([1000 * n for n in range(9)]).cast(pl.Duration("ms")),
        "clock": pl.Series([n * 10**9 for n in range(9)]).cast(pl.Time),
        "raw": pl.Series([b"x"] * 9),
        "nested": pl.Series([{"a": n} for n in range(9)]),
        "null": pl.Series([None] * 9),
        "grades": pl.Series(["low"] * 9, dtype=pl.Categorical),
        "when": pl.Series([n * 10**6 for n in range(9)]).cast(pl.Datetime("us", "UTC")),
        "exact": pl.Series(list(range(9))).cast(pl.Decimal(10, 2)),
        "ok": pl.Series([True] * 9),
        "vector": pl.Series([[1.0, 2.0]] * 9, dtype=pl.Array(pl.Float64, 2)),
    }
    pl.DataFrame({"item_id": ids, "title": ids, **columns}).write_parquet(
        tmp_path / "items.parquet"
    )
    files = ["--interactions", str(tmp_path / "interactions.csv")]
    files += ["--items", str(tmp_path / "items.parquet")]
    assert longtail.main(["inspect", *files]) == 0
    answer = capsys.readouterr().out
    for name in columns:
        assert name in answer


def test_a_sample_without_a_rating_is_shown_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "interactions.csv"
    path.write_text("user_id,item_id,timestamp,rating\nu,a,1700000000,4.5\nu,b,1700000001,n/a\n")
    given = ["inspect", "--interactions", str(path)]
    assert longtail.main(given) == longtail.main([*given, "--json"]) == 0
    text, brace, rest = capsys.readouterr().out.partition("\n{\n")
    assert "nan" not in text
    ratings = [sample["rating"] for sample in json.loads(brace + rest)["sample_interactions"]]
    assert ratings == [4.5, None]
