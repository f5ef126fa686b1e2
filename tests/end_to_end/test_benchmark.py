"""A grid through the command, with models of some thousand weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import longtail
from offline.benchmark.cells import BASELINES
from tests.end_to_end.conftest import Workshop

RECIPE = """
description = "tiny"
knowledge = {{ model = "none" }}
encoding = {{ encoder = "{encoder}" }}
recommender = {{ embedding_size = 16, max_length = 12, layers = 1, dropout = 0.1 }}
training = {{ epochs = 3, learning_rate = 0.01 }}
"""
GRID = """
description = "A small grid"
reference = "short"
seeds = [0, 1]
data = [{{ name = "made" }}]

[[entries]]
name = "short"
recipe = "{recipe}"
curve = "made"

[[entries]]
name = "longer"
recipe = "{recipe}"
changes.training.epochs = 4

[[entries]]
name = "of half"
recipe = "{recipe}"
curve = "made"
changes.training.share = 0.5

[[entries]]
name = "shuffled, frozen"
recipe = "{recipe}"
changes = {{ encoding = {{ shuffled = true }}, training = {{ id_training = "frozen" }} }}
"""


WRONG = """
description = "One entry can't be trained"
reference = "right"
seeds = [0]
data = [{{ name = "made" }}]

[[entries]]
name = "wrong"
recipe = "{recipe}"
changes = {{ recommender.backbone = "bert4rec", training.contrast_weight = 0.1 }}

[[entries]]
name = "right"
recipe = "{recipe}"
"""


def command_for(grid: str, workshop: Workshop, folder: Path) -> list[str]:
    """A benchmark of a grid's text on synthetic interactions, all in one folder."""
    recipe, path, data = folder / "tiny.toml", folder / "small.toml", folder / "made.csv"
    recipe.write_text(RECIPE.format(encoder=workshop.encoder))
    path.write_text(grid.format(recipe=recipe))
    write_interactions(data)
    places = ["--data", f"made={data}", "--out", str(folder / "out")]
    return ["benchmark", str(path), *places, "--results", str(folder / "results")]


def write_interactions(path: Path) -> None:
    """Forty users who cycle through twelve items, each from an item of their own."""
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,timestamp"]
    for user in range(40):
        start = int(rng.integers(12))
        lines += [f"u{user},i{(start + step) % 12},{step}" for step in range(8)]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_a_grid_is_run_once_and_written(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = command_for(GRID, workshop, tmp_path)
    assert longtail.main(command) == 0
    assert "longer, seed 1" in capsys.readouterr().out

    page = (tmp_path / "results" / "small.md").read_text()
    document = json.loads((tmp_path / "results" / "small.json").read_text())
    entries = document["data"]["made"]["entries"]
    assert list(entries) == [*BASELINES, "short", "longer", "of half", "shuffled, frozen"]
    # The path is a circle: counts of transitions know it all, popularity nothing.
    assert entries["markov"]["test"]["all"]["hit_rate_at_10"] == 1.0
    assert entries["longer"]["test"]["gain"]["against"] == "short"
    ranks = [np.load(path) for path in sorted(tmp_path.glob("out/made/longer/*/ranks/*/test.npy"))]
    assert len(ranks) == 2
    hit_rate = np.mean([np.mean(of_seed <= 10) for of_seed in ranks])
    assert entries["longer"]["test"]["all"]["hit_rate_at_10"] == pytest.approx(hit_rate)
    assert "| longer | 2 |" in page
    # The same cases are asked, whoever trained.
    assert len({entry["test"]["all"]["cases"] for entry in entries.values()}) == 1
    assert "(small-curves.svg)" in page
    assert "| 50 % | " in page
    assert (tmp_path / "results" / "small-curves.svg").is_file()
    assert {cell["best_phase"] for cell in entries["shuffled, frozen"]["training"]} == {"frozen"}
    assert len(list(tmp_path.glob("out/made/texts-*/encoding"))) == 2
    assert str(tmp_path) not in page

    trained = tmp_path / "out/made/longer/seed-1/recommender/stage.json"
    before = trained.stat().st_mtime_ns
    assert longtail.main(command) == 0
    assert trained.stat().st_mtime_ns == before
    # One entry alone leaves the tables of all as they are.
    assert longtail.main([*command, "--only", "short"]) == 0
    assert (tmp_path / "results" / "small.md").read_text() == page
    assert longtail.main([*command, "--only", "nobody"]) == 1
    assert "'nobody'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_failed_training_does_not_stop_the_others(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert longtail.main(command_for(WRONG, workshop, tmp_path)) == 1
    said = capsys.readouterr()
    assert "made: right, seed 0 (2 of 2)" in said.out
    error = said.err.strip().splitlines()[-1]
    assert "1 could not be trained, the first: made: wrong, seed 0: training.contrast" in error
    entries = json.loads((tmp_path / "results" / "small.json").read_text())["data"]["made"][
        "entries"
    ]
    assert list(entries) == [*BASELINES, "right"]
