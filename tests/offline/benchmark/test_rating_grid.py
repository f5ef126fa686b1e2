"""Grids of ratings: trained on small files, with a tiny language model; figures by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.errors import ConfigError, InputError
from offline.benchmark.command import benchmark
from offline.benchmark.rating_cells import RatingRun
from offline.benchmark.rating_grid import RatingGrid
from offline.inputs import find_source
from tests.offline.instruction.tiny_models import make_llama, make_tokenizer
from tests.offline.rating.tiny_files import N_ITEMS, write_rated_files

GRID = """
kind = "ratings"
description = "small"
seeds = [0, 1]

[[data]]
name = "mine"

[[entries]]
name = "NFM"
recipe = "nfm"
changes.rating.epochs = 1
"""
LANGUAGE_MODEL = """
[language_model]
n_history = 3
max_examples = 12

[language_model.tuning]
model = "MODEL"
batch_size = 4
learning_rate = 0.01
"""


COMPLETED = """
[[entries]]
name = "NFM, completed"
recipe = "nfm"
against = "NFM"
changes.rating.epochs = 1

[entries.changes.completion]
model = "MODEL"
max_items = 2
max_new_tokens = 8
attributes = [
    { name = "tone", allowed = ["dark", "light"], examples = { i1 = "dark", i3 = "light" } },
]
"""


def write(folder: Path, text: str) -> str:
    path = folder / "grid.toml"
    path.write_text(text)
    return str(path)


def run(folder: Path, text: str, only: str | None = None) -> dict[str, Any]:
    """Run a grid on small files; the document."""
    places = {"mine": str(folder)}
    benchmark(write(folder, text), places, folder / "out", folder / "results", only=only)
    found: dict[str, Any] = json.loads((folder / "results" / "grid.json").read_text())
    return found


def test_figures_are_means_over_seeds_and_differences_are_paired(tmp_path: Path) -> None:
    data = run(write_rated_files(tmp_path), GRID)["data"]["mine"]
    assert [*data["entries"]] == [
        "global mean", "user mean", "item mean", "item kNN", "biased MF", "NFM",
    ]  # fmt: skip
    grid = RatingGrid.model_validate(
        {
            "kind": "ratings",
            "description": "small",
            "seeds": [0, 1],
            "data": [{"name": "mine"}],
            "entries": [
                {"name": "NFM", "recipe": "nfm", "changes": {"rating": {"epochs": 1}}},
            ],
        }
    )
    source = find_source(str(tmp_path), None, None)
    again = RatingRun(grid, grid.data[0], source, tmp_path / "out" / "mine", log=lambda _: None)
    roots: dict[str, list[float]] = {"NFM": [], "biased MF": []}
    for cell in again.cells():
        if cell.entry in roots:
            errors = cell.predicted["test"] - again.split(cell.seed).test.values
            roots[cell.entry].append(float(np.sqrt(np.mean(errors**2))))
    figures = data["entries"]["NFM"]["test"]
    assert (figures["seeds"], figures["against"]) == (2, "biased MF")
    assert figures["all"]["rmse"] == pytest.approx(np.mean(roots["NFM"]), abs=1e-5)
    difference = figures["all"]["difference"]
    expected = np.mean(roots["NFM"]) - np.mean(roots["biased MF"])
    assert difference["rmse"] == pytest.approx(expected, abs=1e-5)
    assert difference["from"] < difference["rmse"] < difference["to"]
    page = (tmp_path / "results" / "grid.md").read_text()
    assert f"| NFM | 2 | {figures['all']['rmse']:.4f} ± " in page.replace("| .", "| 0.")
    assert "aggregated" not in page


def test_a_language_model_completes_is_tuned_asked_and_aggregated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(tmp_path / "cache"))
    make_llama().save_pretrained(tmp_path / "llm")
    make_tokenizer().save_pretrained(tmp_path / "llm")
    text = GRID.replace("seeds = [0, 1]", "seeds = [0]\nusers = 6")
    text += (COMPLETED + LANGUAGE_MODEL).replace("MODEL", str(tmp_path / "llm"))
    data = run(write_rated_files(tmp_path), text)["data"]["mine"]
    assert data["measured_users"] == 6
    entries = data["entries"]
    rows = ["LLM alone", "NFM, aggregated with the LLM", "NFM, aggregated with biased MF"]
    assert [*entries][-6:-2] == ["NFM, completed", *rows]
    assert entries["NFM, completed"]["test"]["against"] == "NFM"
    completion = entries["NFM, completed"]["training"][0]["completion"]
    assert (completion["asked"], completion["attributes"]["tone"]["missing"]) == (2, N_ITEMS - 2)
    assert entries[rows[1]]["test"]["against"] == "NFM"
    whole = entries["NFM"]["test"]["all"]
    assert 1 <= whole["ratings"] == entries["LLM alone"]["test"]["all"]["ratings"] < 12
    for row in rows[1:]:  # chosen among weightings of which one changes nothing
        chosen, base = (entries[name]["validation"]["all"]["rmse"] for name in (row, "NFM"))
        assert chosen <= base + 1e-6
    page = (tmp_path / "results" / "grid.md").read_text()
    assert "| NFM, aggregated with the LLM | 0 | " in page
    assert "6 users drawn at random" in page
    assert "*NFM, completed*. Completed by" in page
    assert "of 18 missing values" in page


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('recipe = "nfm"\nchanges.rating.epochs = 1', 'recipe = "mf"', "'mf' is of kind direct"),
        ("rating.epochs = 1", "rating.epochs = 0", "'NFM' on mine"),
        ('description = "small"', 'description = "small"\nreference = "SVD"', "'SVD' is neither"),
        ('name = "NFM"', 'name = "NFM"\ncurve = "c"', "no learning curve"),
        ('name = "NFM"', 'name = "NFM"\ndata = ["other"]', "'other', not in the grid"),
    ],
)
def test_a_wrong_grid_is_named_before_any_work(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    assert old in GRID
    grid = write(write_rated_files(tmp_path), GRID.replace(old, new))
    with pytest.raises(ConfigError, match=named):
        benchmark(grid, {"mine": str(tmp_path)}, tmp_path / "out", tmp_path / "results")
    assert not (tmp_path / "out").exists()


def test_files_without_ratings_are_named(tmp_path: Path) -> None:
    rows = [f"u{n % 4},i{n % 7},{n}" for n in range(40)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    with pytest.raises(InputError, match="no ratings"):
        run(tmp_path, GRID)
