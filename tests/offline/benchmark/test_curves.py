"""Learning curves: from ranks to figures, page and picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline.benchmark.cells import Cell
from offline.benchmark.grid import Grid
from offline.benchmark.page import render_page
from offline.benchmark.plots import plot_curves
from offline.benchmark.results import describe_data
from offline.data.split import Split
from offline.metrics import ndcg_at_k
from tests.offline.recommender.planted import cases_of

N_CASES = 60
HISTORIES = [np.array([1 + case % 3, 4], np.int32) for case in range(N_CASES)]
SHARES = {"ids, 10 %": 0.1, "ids": 1.0, "text, 10 %": 0.1, "text": 1.0}


def grid_of() -> Grid:
    entries = [
        {
            "name": name,
            "recipe": "titles" if name.startswith("text") else "ids",
            "curve": name.partition(",")[0],
            "against": name.replace("text", "ids"),
            "changes": {"training": {"share": share}},
        }
        for name, share in SHARES.items()
    ]
    return Grid.model_validate(
        {
            "description": "a curve",
            "reference": "ids",
            "parts": ["test"],
            "seeds": [0, 1],
            "data": [{"name": "made"}],
            "entries": entries,
        }
    )


def cells_of(names: list[str]) -> list[Cell]:
    rng = np.random.default_rng(0)
    facts = {"best_epoch": 1, "best_phase": "all", "ndcg_at_10": 0.1, "seconds": 1.0}
    return [
        Cell(name, seed, {"test": rng.integers(1, 40 if "10" in name else 20, N_CASES)}, facts)
        for name in names
        for seed in (0, 1)
    ]


def document_of(cells: list[Cell], n_repeats: int = 0) -> dict[str, Any]:
    grid = grid_of()
    targets = [4] * n_repeats + [5 + case % 20 for case in range(n_repeats, N_CASES)]
    cases = cases_of(HISTORIES, targets)
    offsets = np.arange(0, 2 * N_CASES + 1, 2, dtype=np.int64)
    split = Split(offsets, np.concatenate(HISTORIES), cases, cases)
    return {
        "description": grid.description,
        "command": "longtail benchmark a-curve",
        "date": "today",
        "hardware": {"cpu": "one", "cores": 2},
        "grid": grid.model_dump(mode="json"),
        "data": {"made": describe_data(grid, grid.data[0], split, 30, cells)},
    }


def test_a_curves_figures_come_from_the_ranks() -> None:
    cells = cells_of(list(SHARES))
    data = document_of(cells)["data"]["made"]
    assert data["curves"] == {
        curve: [{"share": 0.1, "entry": f"{curve}, 10 %"}, {"share": 1.0, "entry": curve}]
        for curve in ("ids", "text")
    }
    for points in data["curves"].values():
        for point in points:
            ranks = [cell.ranks["test"] for cell in cells if cell.entry == point["entry"]]
            figures = data["entries"][point["entry"]]["test"]["all"]
            assert figures["ndcg_at_10"] == pytest.approx(np.mean([ndcg_at_k(r) for r in ranks]))
    assert data["entries"]["text, 10 %"]["test"]["gain"]["against"] == "ids, 10 %"


def test_the_page_has_a_row_for_each_share_and_the_picture_both_curves(tmp_path: Path) -> None:
    document = document_of(cells_of(list(SHARES)))
    page = render_page(document, ["a.svg", "a-curves.svg"])
    figures = document["data"]["made"]["entries"]["ids, 10 %"]["test"]["all"]
    mean, margin = figures["ndcg_at_10"], figures["ndcg_at_10_margin"]
    interval = f"{mean - margin:.4f} to {mean + margin:.4f}".replace("0.", ".")
    assert f"| 10 % | {mean:.4f} ({interval}) | ".replace(" 0.", " .") in page
    assert "| 100 % |" in page
    assert "| users that train | ids | text |" in page
    assert "![NDCG@10](a-curves.svg)" in page
    plot_curves(document, tmp_path / "a-curves.svg")
    assert (tmp_path / "a-curves.svg").read_text().count('id="LineCollection') >= 2


def test_points_that_are_not_trained_yet_are_left_out() -> None:
    document = document_of(cells_of(["ids", "text, 10 %"]))
    assert document["data"]["made"]["curves"] == {
        "ids": [{"share": 1.0, "entry": "ids"}],
        "text": [{"share": 0.1, "entry": "text, 10 %"}],
    }
    page = render_page(document, [])
    assert "| 10 % |  | " in page
    assert document_of([])["data"]["made"]["curves"] == {}


def test_targets_in_the_history_are_said_where_there_are_any() -> None:
    cells = cells_of(["ids"])
    assert "repeats" not in document_of(cells)["data"]["made"]
    assert "stand in their user's history" not in render_page(document_of(cells), [])
    document = document_of(cells, n_repeats=15)
    assert document["data"]["made"]["repeats"] == {"test": 0.25}
    assert "history, and count as misses: 25 % on test." in render_page(document, [])
