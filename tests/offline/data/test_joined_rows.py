"""Archived events are joined to the interactions of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import longtail
from model_store.codecs import Event
from model_store.errors import InputError
from offline.data.dataset import Dataset, read_dataset
from offline.event_archive.archive import EventArchive, Logged

NOON = 1_500_000_000.0


def write_file(folder: Path, *rows: str, columns: str = "user_id,item_id,timestamp") -> Path:
    path = folder / "interactions.csv"
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def archive(folder: Path, *events: tuple[str, Event]) -> Path:
    archived = EventArchive(folder / "events")
    with archived.locked():
        archived.add([Logged(user, event, number) for number, (user, event) in enumerate(events)])
    return archived.folder


def histories(dataset: Dataset) -> dict[str, list[str]]:
    found = dataset.interactions
    ids = found.item_ids.ids
    return {
        user: [ids[item - 1] for item in found.items[found.offsets[n] : found.offsets[n + 1]]]
        for n, user in enumerate(found.user_ids)
    }


def test_they_are_sorted_in_by_time_with_new_users_and_items(tmp_path: Path) -> None:
    file = write_file(
        tmp_path, f"u1,a,{NOON + 10:.0f}", f"u1,b,{NOON + 30:.0f}", f"u2,a,{NOON:.0f}"
    )
    events = archive(
        tmp_path,
        ("u3", Event("c", NOON + 5)),
        ("u1", Event("c", NOON + 20)),
        ("u2", Event("b", NOON + 40)),
    )
    dataset = read_dataset(file, events=events)
    assert histories(dataset) == {"u1": ["a", "c", "b"], "u2": ["a", "b"], "u3": ["c"]}
    assert dataset.interactions.item_ids.ids == ("a", "b", "c")
    assert dataset.interactions.ratings is None
    assert dataset.event_types is not None
    assert dataset.event_types.counts() == {"interaction": 6}
    assert [line.split(":")[0] for line in dataset.files] == ["interactions", "events"]


def test_an_event_that_the_file_has_too_counts_once(tmp_path: Path) -> None:
    file = write_file(tmp_path, f"u1,a,{NOON:.0f}", f"u1,b,{NOON + 1:.0f}")
    events = archive(
        tmp_path,
        ("u1", Event("a", NOON + 0.7)),
        ("u1", Event("a", NOON + 0.7, type="purchase")),
        ("u1", Event("a", NOON + 1.2)),
        ("u2", Event("a", NOON)),
    )
    dataset = read_dataset(file, events=events)
    assert histories(dataset) == {"u1": ["a", "a", "b", "a"], "u2": ["a"]}
    [line] = [line for line in dataset.issues.lines() if "repeating" in line]
    assert ".parquet: 1 row repeating" in line


def test_types_and_ratings_of_both_are_kept(tmp_path: Path) -> None:
    file = write_file(
        tmp_path,
        *(f"u1,a,{NOON:.0f},view,4", f"u1,b,{NOON + 1:.0f},,"),
        columns="user_id,item_id,timestamp,event_type,rating",
    )
    events = archive(
        tmp_path,
        ("u1", Event("c", NOON + 2, rating=2.0, type="purchase")),
        ("u1", Event("d", NOON + 3, type="view")),
    )
    dataset = read_dataset(file, events=events)
    assert dataset.event_types is not None
    assert dataset.event_types.counts() == {"view": 2, "interaction": 1, "purchase": 1}
    assert dataset.interactions.ratings is not None
    assert np.array_equal(
        dataset.interactions.ratings, np.float32([4, np.nan, 2, np.nan]), equal_nan=True
    )


def test_a_folder_without_archived_events_is_named(tmp_path: Path) -> None:
    file = write_file(tmp_path, f"u1,a,{NOON:.0f}")
    for wrong, why in ((file, "is no folder of"), (tmp_path, "holds no archived events")):
        with pytest.raises(InputError, match=why):
            read_dataset(file, events=wrong)


def test_inspect_shows_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"u{user},i{user + n},{NOON + n:.0f}" for user in range(3) for n in range(3)]
    file = write_file(tmp_path, *rows)
    events = archive(tmp_path, ("u1", Event("i9", NOON + 50)))
    flags = ["--interactions", str(file), "--events", str(events)]
    assert longtail.main(["inspect", *flags]) == 0
    assert "interactions    10 of 3 users" in capsys.readouterr().out
