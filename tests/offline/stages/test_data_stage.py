"""The data stage uses the interactions that are asked for, and says first what it found."""

from __future__ import annotations

from pathlib import Path

import pytest

import longtail
from model_store.errors import InputError
from offline.build import Build
from offline.data.config import ALL_INTERACTIONS, DataConfig
from offline.inputs import Source
from offline.stages.data import DataArtifact, DataStage
from offline.stages.stage import run_stage

N_USERS, LENGTH = 30, 5


@pytest.fixture
def shop(tmp_path: Path) -> Source:
    """Each view is followed by a purchase of the same item; the catalogue has half of the items."""
    lines = ["user_id,item_id,timestamp"]
    for user in range(N_USERS):
        for step in range(LENGTH):
            item, time = (user + step) % 40, 1_700_000_000 + 1_000 * user + 60 * step
            lines += [f"u{user},{item},{time}", f"u{user},{item},{time + 9}"]
    (tmp_path / "events.csv").write_text("\n".join(lines))
    items = ["item_id,title", *(f"{item},Thing {item}" for item in range(20))]
    (tmp_path / "items.csv").write_text("\n".join(items))
    return Source(tmp_path / "events.csv", tmp_path / "items.csv", "item")


def data_of(shop: Source, tmp_path: Path, choices: DataConfig) -> tuple[DataArtifact, list[str]]:
    lines: list[str] = []
    stage = DataStage(shop, "leave_one_out", lines.append, choices)
    return run_stage(stage, tmp_path / "out", lambda _: None), lines


def test_repeats_and_missing_items_are_warned_of_before_training(
    shop: Source, tmp_path: Path
) -> None:
    data, lines = data_of(shop, tmp_path, ALL_INTERACTIONS)
    assert data.split().test.are_repeats().all()
    assert any("'user_id' is user_id" in line for line in lines)
    repeats, lacking = [line for line in lines if "WARNING: " in line][::-1]
    assert "100 % of the test targets stand in their user's history" in repeats
    assert "the catalogue lacks 14 of the 34 items" in lacking


def test_what_the_warnings_advise_helps(shop: Source, tmp_path: Path) -> None:
    choices = DataConfig(repeats="runs", catalogue_only=True)
    data, lines = data_of(shop, tmp_path, choices)
    assert not data.split().test.are_repeats().any()
    assert data.n_items == 20
    n_of_catalogue = sum((u + s) % 40 < 20 for u in range(N_USERS) for s in range(LENGTH))
    assert data.facts["interactions"] == n_of_catalogue
    assert any("of items that the catalogue lacks dropped" in line for line in lines)
    assert not any("test targets" in line or "the catalogue lacks 14" in line for line in lines)


def test_other_interactions_are_another_artifact(shop: Source) -> None:
    fingerprints = {
        DataStage(shop, "leave_one_out", print, choices).fingerprint()
        for choices in (ALL_INTERACTIONS, DataConfig(repeats="runs"), DataConfig(repeats="first"))
    }
    assert len(fingerprints) == 3


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ([], ALL_INTERACTIONS),
        (["--repeats", "runs"], DataConfig(repeats="runs")),
        (["--recipe", "ids", "--repeats", "first"], DataConfig(repeats="first")),
        (["--catalogue-only"], DataConfig(catalogue_only=True)),
        (["--event-types", "buy, cart"], DataConfig(event_types=("buy", "cart"))),
    ],
)
def test_a_builds_flags_reach_its_recipe(
    flags: list[str],
    wanted: DataConfig,
    shop: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    builds: list[Build] = []

    def keep(build: Build) -> None:
        builds.append(build)

    monkeypatch.setattr(Build, "run", keep)
    files = ["--interactions", str(shop.interactions), "--items", str(shop.items)]
    assert longtail.main(["build", *files, "--out", str(tmp_path / "out"), *flags]) == 0
    [build] = builds
    assert build.recipe.data == wanted
    # A recipe that is chosen once the data are read has the flags' changes, too.
    assert build.suit is None or build.suit(10, 1).data == wanted


def test_one_item_alone_is_rejected_before_training(tmp_path: Path) -> None:
    rows = [f"u{user},only,{1_700_000_000 + n}" for user in range(5) for n in range(4)]
    (tmp_path / "one.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    with pytest.raises(InputError, match="one item alone"):
        data_of(Source(tmp_path / "one.csv", None, "item"), tmp_path, ALL_INTERACTIONS)
