"""The interactions that a recipe's `[data]` table asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from model_store.errors import InputError
from model_store.repeats import Repeats
from offline.data.config import DataConfig
from offline.data.dataset import Dataset, read_dataset
from offline.data.issues import IssueKind
from offline.data.selection import select

ROWS = "aaxabbyc", "xyyx", "x", "qq"
"""Items of four users, one character each, in the order of time."""


def dataset_of(folder: Path, catalogue: str | None = None) -> Dataset:
    lines = [
        f"u{user},{item},{100 * user + step},{step % 5}"
        for user, items in enumerate(ROWS)
        for step, item in enumerate(items)
    ]
    header = "user_id,item_id,timestamp,rating"
    (folder / "interactions.csv").write_text("\n".join([header, *lines]))
    if catalogue is None:
        return read_dataset(folder / "interactions.csv")
    lines = [f"{item},Thing {item},{n}" for n, item in enumerate(catalogue)]
    (folder / "items.csv").write_text("\n".join(["item_id,title,price", *lines]))
    return read_dataset(folder / "interactions.csv", folder / "items.csv")


def histories_in(dataset: Dataset) -> dict[str, str]:
    interactions = dataset.interactions
    return {
        user_id: "".join(interactions.item_ids.id_of(int(i)) for i in interactions.history(user))
        for user, user_id in enumerate(interactions.user_ids)
    }


@pytest.mark.parametrize(
    ("repeats", "wanted"),
    [
        ("keep", ["aaxabbyc", "xyyx", "x", "qq"]),
        ("runs", ["axabyc", "xyx", "x", "q"]),
        ("first", ["axbyc", "xy", "x", "q"]),
    ],
)
def test_repeats_are_collapsed_to_the_first(
    tmp_path: Path, repeats: Repeats, wanted: list[str]
) -> None:
    read = dataset_of(tmp_path)
    chosen = select(read, DataConfig(repeats=repeats))
    assert list(histories_in(chosen).values()) == wanted
    n_dropped = sum(map(len, ROWS)) - sum(map(len, wanted))
    assert chosen.issues.count(IssueKind.COLLAPSED_REPEAT) == n_dropped
    assert chosen.interactions.n_items == read.interactions.n_items
    assert read.issues.count(IssueKind.COLLAPSED_REPEAT) == 0
    rows = chosen.interactions
    first = rows.timestamps[rows.offsets[0] : rows.offsets[1]].tolist()
    assert first == [ROWS[0].index(wanted[0][0]) + 0.0, *first[1:]]
    assert rows.ratings is not None
    assert (rows.ratings == rows.timestamps % 100 % 5).all()


def test_repeats_are_named(tmp_path: Path) -> None:
    chosen = select(dataset_of(tmp_path), DataConfig(repeats="runs"))
    assert chosen.issues.lines()[-1] == (
        "interactions: 4 rows repeating an item of the same user dropped (user 'u0', item 'a'; "
        "user 'u0', item 'b'; user 'u1', item 'y'; …)"
    )


def test_the_catalogues_items_alone(tmp_path: Path) -> None:
    read = dataset_of(tmp_path, "bxya")
    assert histories_in(read)["u0"] == ROWS[0]
    chosen = select(read, DataConfig(catalogue_only=True))
    # The last user has no item of the catalogue.
    assert histories_in(chosen) == {"u0": "aaxabby", "u1": "xyyx", "u2": "x"}
    assert chosen.interactions.item_ids.ids == ("b", "x", "y", "a")
    assert chosen.attributes.n_items == 4
    assert chosen.attributes.row(4) == {"title": "Thing a", "price": 3}
    assert chosen.issues.count(IssueKind.OUTSIDE_CATALOGUE) == 3
    assert chosen.issues.count(IssueKind.ITEM_NOT_IN_CATALOGUE) == 0
    chosen.save(tmp_path / "saved")
    assert histories_in(Dataset.load(tmp_path / "saved")) == histories_in(chosen)
    assert Dataset.load(tmp_path / "saved").n_catalogued == 4


def test_both_choices_together(tmp_path: Path) -> None:
    both = DataConfig(catalogue_only=True, repeats="runs")
    # What stood between two interactions with an item is gone, so they are a run.
    assert histories_in(select(dataset_of(tmp_path, "ay"), both)) == {"u0": "ay", "u1": "y"}


def test_a_catalogue_of_other_items_or_none_is_an_error(tmp_path: Path) -> None:
    only = DataConfig(catalogue_only=True)
    with pytest.raises(InputError, match="catalogue_only = true: none of the 15 interactions"):
        select(dataset_of(tmp_path, "ABC"), only)
    with pytest.raises(InputError, match="there is no catalogue"):
        select(dataset_of(tmp_path), only)


EVENTS = """user_id,item_id,timestamp,event
u,a,1700000000,view
u,a,1700000000,purchase
u,b,1700000001,view
u,a,1700000002,view
v,c,1700000003,
v,c,1700000003,
v,d,1700000004,purchase
"""


def events_of(folder: Path, catalogue: str | None = None) -> Dataset:
    (folder / "events.csv").write_text(EVENTS)
    if catalogue is None:
        return read_dataset(folder / "events.csv")
    lines = [f"{item},Thing {item}" for item in catalogue]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *lines]))
    return read_dataset(folder / "events.csv", folder / "items.csv")


def test_types_of_events_are_read_and_counted(tmp_path: Path) -> None:
    read = events_of(tmp_path)
    assert read.event_types is not None
    # A view and a purchase at one time are two; the same without a type twice is one.
    assert read.event_types.counts() == {"view": 3, "purchase": 2, "": 1}
    assert read.issues.count(IssueKind.REPEATED_INTERACTION) == 1
    assert histories_in(read) == {"u": "aaba", "v": "cd"}
    [reading] = [reading for reading in read.readings if reading.column == "event"]
    assert (reading.meaning, reading.detail) == ("event_type", "view, purchase, (none)")


@pytest.mark.parametrize(
    ("types", "wanted", "items"),
    [
        (("purchase",), {"u": "a", "v": "d"}, "ad"),
        (("view",), {"u": "aba"}, "ab"),
        (("view", "purchase"), {"u": "aaba", "v": "d"}, "abd"),
        (("",), {"v": "c"}, "c"),
    ],
)
def test_event_types_that_are_asked_for_are_used_alone(
    tmp_path: Path, types: tuple[str, ...], wanted: dict[str, str], items: str
) -> None:
    read = events_of(tmp_path)
    chosen = select(read, DataConfig(event_types=types))
    assert histories_in(chosen) == wanted
    # Items that only other events name would have neither texts nor interactions.
    assert chosen.interactions.item_ids.ids == tuple(items)
    assert chosen.attributes.n_items == len(items)
    n_others = 6 - sum(map(len, wanted.values()))
    assert chosen.issues.count(IssueKind.OTHER_EVENT_TYPE) == n_others
    assert chosen.event_types is not None
    assert set(chosen.event_types.counts()) == set(types)


def test_items_of_the_catalogue_stay_whatever_event_types_are_used(tmp_path: Path) -> None:
    config = DataConfig(event_types=("purchase",), repeats="first")
    chosen = select(events_of(tmp_path, "xab"), config)
    assert chosen.interactions.item_ids.ids == ("x", "a", "b", "d")
    assert histories_in(chosen) == {"u": "a", "v": "d"}
    assert chosen.attributes.row(2) == {"title": "Thing a"}
    only = select(events_of(tmp_path, "xab"), config.model_copy(update={"catalogue_only": True}))
    assert histories_in(only) == {"u": "a"}


def test_event_types_that_are_not_there_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"type 'purchse'; did you mean 'purchase'.* view 3, pur"):
        select(events_of(tmp_path), DataConfig(event_types=("view", "purchse")))
    with pytest.raises(InputError, match=r"no such column .--columns event_type=NAME"):
        select(dataset_of(tmp_path), DataConfig(event_types=("view",)))
    with pytest.raises(ValidationError):
        DataConfig(event_types=())
