"""`longtail inspect` on files as shops have them: what a person reads before training anything."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import longtail
from offline.data.dataset import read_dataset
from offline.data.issues import Issue, IssueKind
from offline.data.split import leave_one_out
from offline.inspect.document import render_document
from offline.inspect.inspection import Inspection, inspect_dataset
from offline.inspect.text import describe, describe_briefly, facts
from offline.inspect.warnings import warnings_about_data
from tests.end_to_end.odd_data import N_ITEMS, N_USERS, write_odd_data

DAY_S = 86_400
NOON_S = 1_700_000_000
Row = tuple[str, str, int]


def inspection_of(folder: Path, rows: list[Row], catalogue: list[str] | None = None) -> Inspection:
    folder.mkdir(exist_ok=True)
    lines = [f"{user},{item},{time}" for user, item, time in rows]
    (folder / "clicks.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    items = None
    if catalogue is not None:
        items = folder / "shop.csv"
        items.write_text("\n".join(["item_id,title", *(f"{i},Thing {i}" for i in catalogue)]))
    dataset = read_dataset(folder / "clicks.csv", items)
    return inspect_dataset(dataset, leave_one_out(dataset.interactions).test)


def walks(n_users: int, length: int, n_items: int = 30) -> list[Row]:
    """Everybody takes items one after another, a minute apart."""
    return [
        (f"u{user}", str((user + step) % n_items), NOON_S + 1000 * user + 60 * step)
        for user in range(n_users)
        for step in range(length)
    ]


def fact(inspection: Inspection, label: str) -> str:
    return dict(facts(inspection))[label]


def warning(inspection: Inspection) -> str:
    [line] = warnings_about_data(inspection)
    return line


def test_sound_data_are_described_without_a_warning(tmp_path: Path) -> None:
    inspection = inspection_of(tmp_path, walks(20, 5), [str(n) for n in range(40)])
    assert warnings_about_data(inspection) == []
    assert fact(inspection, "interactions") == "100 of 20 users with 40 items"
    assert fact(inspection, "catalogue") == (
        "40 items, 16 without interactions; it has all items that interactions name"
    )
    assert fact(inspection, "repeats") == "nobody has an item twice"
    assert fact(inspection, "histories") == "5 interactions a user"
    assert fact(inspection, "times").startswith(
        "2023-11-14 22:13:20 to 2023-11-15 03:34:00 UTC; every"
    )
    text = describe(inspection)
    assert text.endswith("Nothing to be warned of.")
    for said in ("attribute 'title'", "not used, or changed:\n  nothing", "Thing 39", "clicks.csv"):
        assert said in text
    assert len(inspection.samples) == len(inspection.items) == 5


@pytest.mark.parametrize(
    ("catalogue", "said"),
    [
        (
            [*(f"{n}.0" for n in range(29)), "other"],
            "24 differ by a decimal part of zeros alone ('0' and '0.0'",
        ),
        ([f"{n} x" for n in range(300, 330)], "lacks 24 of the 24 items"),
        (
            [str(n) for n in range(10)],
            "14 of the 24 items that interactions name (58.3 %, with 60 % of the interactions): ",
        ),
        ([f"{n:03}" for n in range(30)], "differ by leading zeros alone ("),
    ],
)
def test_items_that_the_catalogue_lacks_are_named_with_what_is_near(
    tmp_path: Path, catalogue: list[str], said: str
) -> None:
    line = warning(inspection_of(tmp_path, walks(20, 5), catalogue))
    assert said in line
    assert "--catalogue-only" in line


def test_a_single_item_that_is_lacking_is_no_warning_but_a_near_miss_is(tmp_path: Path) -> None:
    rows = walks(100, 5)
    known = [str(n) for n in range(30)]
    assert warnings_about_data(inspection_of(tmp_path, [*rows, ("u0", "zz", NOON_S)], known)) == []
    near = inspection_of(tmp_path, [*rows, ("u0", "7.0", NOON_S)], known)
    assert "1 differ by a decimal part of zeros alone ('7.0' and '7')" in warning(near)


def test_a_purchase_after_each_view_is_a_repeat_of_every_test_target(tmp_path: Path) -> None:
    rows = walks(20, 5)
    views = [
        row for user, item, time in rows for row in ((user, item, time), (user, item, time + 9))
    ]
    inspection = inspection_of(tmp_path, views)
    assert warning(inspection).startswith("100 % of the test targets stand in their user's history")
    assert fact(inspection, "repeats") == (
        "100 interactions (50 %) with an item that the user had before, 100 of them directly "
        "before; 100 % of the test targets"
    )


def test_a_bot_is_named(tmp_path: Path) -> None:
    bot = [("crawler", str(n % 30), NOON_S + n) for n in range(2_000)]
    inspection = inspection_of(tmp_path, walks(20, 5) + bot)
    [line] = [line for line in warnings_about_data(inspection) if "bots?" in line]
    assert "1 user has far more interactions than others, 95.2 % of all" in line
    assert "'crawler': 2,000 interactions with 30 items, 3.6e+03 an hour" in line
    assert inspection.histories.n_outliers == 1


def test_ties_and_dates_without_times_are_counted(tmp_path: Path) -> None:
    rows = [("a", str(n), DAY_S * 19_000) for n in range(3)]
    rows += [("b", str(n), DAY_S * (19_000 + n)) for n in range(3)]
    inspection = inspection_of(tmp_path, rows)
    assert (inspection.times.n_tied, inspection.times.n) == (3, 6)
    assert "UTC; dates without times; 50 % are at the time of another one" in fact(
        inspection, "times"
    )


def test_the_last_of_one_user_and_the_first_of_the_next_are_no_tie(tmp_path: Path) -> None:
    rows = [("a", "x", NOON_S), ("b", "y", NOON_S), ("b", "z", NOON_S + 1)]
    assert inspection_of(tmp_path, rows).times.n_tied == 0


def test_users_who_only_train_and_rows_that_are_lost_are_warned_of(tmp_path: Path) -> None:
    short = inspection_of(tmp_path, walks(20, 2) + [("x", str(n), NOON_S + n) for n in range(3)])
    assert warning(short).startswith("95.2 % of the users have fewer than three interactions")
    lost = inspection_of(tmp_path, [*walks(10, 3), *((" ", "1", NOON_S + n) for n in range(20))])
    assert "40 % of all rows are not used; the most common reason: clicks.csv: 20 rows without" in (
        warning(lost)
    )


def test_times_that_are_no_dates_are_warned_of(tmp_path: Path) -> None:
    counts = [(user, item, step) for step, (user, item, _) in enumerate(walks(20, 5))]
    line = warning(inspection_of(tmp_path, counts))
    assert line.startswith("100 % of the times lie before 1980 or in the future (line 2: 0; line 3")
    assert "--columns timestamp=NAME" in line


def test_a_file_that_is_newest_first_is_warned_of_where_times_are_tied(tmp_path: Path) -> None:
    dates = [(user, item, DAY_S * (19_000 + time // 120)) for user, item, time in walks(20, 5)]
    assert warnings_about_data(inspection_of(tmp_path, dates)) == []
    line = warning(inspection_of(tmp_path, dates[::-1]))
    assert line.startswith("the file is newest first, and interactions of a user at one time")


def test_users_who_have_all_items_are_warned_of(tmp_path: Path) -> None:
    rows = walks(3, 4, n_items=4)
    assert warning(inspection_of(tmp_path, rows)).startswith(
        "every user has all 4 items: a request"
    )
    assert warnings_about_data(inspection_of(tmp_path, rows[:-1])) == []


def test_repeats_that_are_collapsed_on_request_are_no_loss(tmp_path: Path) -> None:
    inspection = inspection_of(tmp_path, walks(10, 5))
    asked_for = Issue("clicks.csv", IssueKind.COLLAPSED_REPEAT, 100)
    assert warnings_about_data(replace(inspection, issues=[asked_for])) == []


def test_a_build_hears_the_columns_and_the_warnings(tmp_path: Path) -> None:
    lines = describe_briefly(inspection_of(tmp_path, walks(20, 5), [str(n) for n in range(10)]))
    assert lines[0].startswith("shop.csv: 'item_id' is item_id (")
    assert lines[1].startswith("clicks.csv: 'user_id' is user_id (")
    assert lines[2].startswith("WARNING: the catalogue lacks 14 ")
    assert len(lines) == 3


class Page(HTMLParser):
    """The open tags of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, _: object) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_command_prints_and_writes_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interactions, items = write_odd_data(tmp_path)
    with items.open("a") as file:
        file.write("<script>alert(1)</script>,<b>bold</b> & co,war,1999\n")
    with interactions.open("a") as file:
        file.writelines(
            f"<i>someone</i>,<script>alert(1)</script>,{1_700_000_000 + n}\n" for n in (1, 2, 3)
        )
    files = ["--interactions", str(interactions), "--items", str(items)]
    page = tmp_path / "out" / "page.html"
    assert longtail.main(["inspect", *files, "--html", str(page)]) == 0
    said = capsys.readouterr().out
    assert f"of {N_USERS + 1} users with {N_ITEMS + 1} items" in said
    assert "without a user id dropped" in said
    assert "attribute 'genres'" in said
    parsed = Page()
    parsed.feed(page.read_text())
    assert parsed.open == []
    assert parsed.tags.isdisjoint({"script", "b", "i"})
    assert "<b>bold</b> & co" in parsed.text
    assert page.read_text().count('src="data:image/png;base64,') == 3


def test_what_can_not_be_used_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interactions, _ = write_odd_data(tmp_path)
    given = ["inspect", "--interactions", str(interactions)]
    assert longtail.main([*given, "--html", str(interactions / "below-a-file.html")]) == 1
    assert "--html '" in capsys.readouterr().err
    assert longtail.main([*given, "--html", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err
    (tmp_path / "bad.csv").write_text("user_id,item_id\n1,2\n")
    assert longtail.main(["inspect", "--interactions", str(tmp_path / "bad.csv")]) == 1
    assert capsys.readouterr().err.startswith("longtail inspect: ")


def rated(folder: Path, ratings: list[str]) -> Inspection:
    folder.mkdir(exist_ok=True)
    lines = [f"u{n % 4},i{n},{rating},{NOON_S + n}" for n, rating in enumerate(ratings)]
    (folder / "rated.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *lines]))
    dataset = read_dataset(folder / "rated.csv", None)
    return inspect_dataset(dataset, leave_one_out(dataset.interactions).test)


def test_ratings_are_counted_and_missing_ones_left_out(tmp_path: Path) -> None:
    inspection = rated(tmp_path, ["5"] * 6 + ["1"] * 2 + [""] * 4)
    assert fact(inspection, "ratings") == (
        "8 of mean 4, standard deviation 1.73 (1: 25 %, 5: 75 %)"
    )
    document = json.loads(render_document(inspection, []))
    assert document["ratings"]["counts"] == {"1": 2, "5": 6}
    assert document["ratings"]["interactions"] == 8


def test_many_different_ratings_are_counted_by_tenths_of_their_range(tmp_path: Path) -> None:
    found = rated(tmp_path, [str(n) for n in range(101)]).ratings
    assert found is not None
    assert found.counts == dict(zip(range(0, 100, 10), [10] * 9 + [11], strict=True))


def test_without_ratings_nothing_is_said_of_them(tmp_path: Path) -> None:
    inspection = inspection_of(tmp_path, walks(5, 5))
    assert "ratings" not in dict(facts(inspection))
    assert json.loads(render_document(inspection, []))["ratings"] is None
