from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from loadtest.children import Child
from loadtest.errors import WorkloadError
from loadtest.workload import (
    Draws,
    Workload,
    find_users_by_length,
    gather_service_workload,
    main,
    read_bundle_workload,
)
from tests.loadtest.stand_in import KNOWN_USERS

HOUR_S = 3_600.0


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The plain files of a bundle with four users (one of them without a history)."""
    folder = tmp_path / "synthetic-1"
    folder.mkdir()
    (folder / "item_ids.json").write_text(json.dumps(["a", "b", "c ç"]))
    (folder / "user_ids.json").write_text(json.dumps(["u1", "u2", "u3", "empty"]))
    np.save(folder / "popularity.npy", np.array([0, 2, 5, 3], dtype=np.float32))
    np.save(folder / "user_offsets.npy", np.array([0, 3, 5, 10, 10]))
    np.save(folder / "user_items.npy", np.array([1, 2, 3, 3, 1, 1, 2, 3, 2, 1], dtype=np.int32))
    times = [0, HOUR_S, HOUR_S + 60, 0, 60, 0, 1, 2, 3, 4]
    np.save(folder / "user_timestamps.npy", np.array(times, dtype=np.float64))
    return folder


def test_a_bundle_gives_its_users_its_popular_items_and_their_last_sessions(bundle: Path) -> None:
    workload = read_bundle_workload(bundle)
    assert set(workload.user_ids) == {"u1", "u2", "u3"}
    assert workload.item_ids == ("b", "c ç", "a")
    # The first interaction of u1 lies an hour before the others: another session.
    assert set(workload.histories) == {("b", "c ç"), ("c ç", "a"), ("a", "b", "c ç", "b", "a")}


def test_users_are_found_by_the_length_of_their_history(bundle: Path) -> None:
    assert find_users_by_length(bundle, 3, 1) == (["u1"], [3])
    assert find_users_by_length(bundle, 50, 2) == (["u3", "u1"], [5, 3])
    assert find_users_by_length(bundle, 1, 10) == (["u2", "u1", "u3"], [2, 3, 5])


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY"])
def test_a_damaged_bundle_is_one_line(bundle: Path, content: bytes) -> None:
    (bundle / "user_offsets.npy").write_bytes(content)
    for read in (read_bundle_workload, lambda folder: find_users_by_length(folder, 3, 1)):
        with pytest.raises(WorkloadError, match=f"^{bundle}: no (workload|users) can be read"):
            read(bundle)


def test_a_workload_is_read_as_it_was_written(bundle: Path, tmp_path: Path) -> None:
    workload = read_bundle_workload(bundle)
    workload.save(tmp_path / "w.json")
    assert Workload.load(tmp_path / "w.json") == workload
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("content", ["", "[]", '{"source": "x"}', '{"source":"x","item_ids":[1]}'])
def test_a_file_that_is_no_workload_is_rejected_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(WorkloadError, match=r"broken\.json"):
        Workload.load(path)


def test_a_folder_that_is_no_bundle_is_rejected_by_name(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=tmp_path.name):
        read_bundle_workload(tmp_path)
    with pytest.raises(WorkloadError, match=tmp_path.name):
        find_users_by_length(tmp_path, 50, 1)


def test_draws_are_seeded_and_favour_popular_items() -> None:
    workload = Workload(
        "synthetic",
        tuple(f"u{n}" for n in range(50)),
        tuple(f"i{n}" for n in range(100)),
        (("a", "b", "c", "d"), ("e",)),
    )
    draws = Draws(workload, seed=1)
    items = [draws.item_id() for _ in range(5_000)]
    again = Draws(workload, seed=1)
    assert items == [again.item_id() for _ in range(5_000)]
    other = Draws(workload, seed=2)
    assert items != [other.item_id() for _ in range(5_000)]
    counts = Counter(items)
    # Zipf over 100 items: the first has a share of 1 / H(100) = .193, the second half of it.
    assert counts["i0"] / 5_000 == pytest.approx(0.193, abs=0.03)
    assert counts["i1"] / counts["i0"] == pytest.approx(0.5, abs=0.15)
    assert {draws.user_id() for _ in range(2_000)} == set(workload.user_ids)


def test_drawn_histories_are_beginnings_of_real_ones_of_all_lengths() -> None:
    real = ("a", "b", "c", "d")
    draws = Draws(Workload("synthetic", (), ("a",), (real,)), seed=0)
    histories = [draws.history() for _ in range(200)]
    assert all(history == list(real[: len(history)]) for history in histories)
    assert {len(history) for history in histories} == {1, 2, 3, 4}


def test_session_lengths_scatter_around_their_mean() -> None:
    draws = Draws(Workload("synthetic", (), ("a",), (("a",),)), seed=0)
    lengths = [draws.session_length() for _ in range(5_000)]
    assert min(lengths) == 1
    assert 7 < sum(lengths) / len(lengths) < 9
    assert max(lengths) <= 50


def test_a_running_service_gives_the_users_it_knows_and_items_it_names(stand_in: Child) -> None:
    workload = gather_service_workload(stand_in.address, [*KNOWN_USERS[:3], "stranger"])
    assert workload.user_ids == tuple(KNOWN_USERS[:3])
    assert len(workload.item_ids) > 50
    assert len(set(workload.item_ids)) == len(workload.item_ids)
    assert all(0 < len(history) <= 50 for history in workload.histories)
    assert workload.source == "service, version stand-in-1"


def test_the_command_makes_a_file_from_a_bundle(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "w.json"
    assert main(["--bundle", str(bundle), "--out", str(out)]) == 0
    assert Workload.load(out).source == "bundle synthetic-1"
    assert "3 users, 3 items, 3 histories" in capsys.readouterr().out


@pytest.mark.parametrize(
    "source", [["--bundle", "nowhere"], ["--url", "http://example.org"], ["--url", "nonsense"]]
)
def test_the_command_reports_errors_in_one_line(
    source: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*source, "--out", str(tmp_path / "w.json")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
