"""Plots of the benchmark's figures: all measured ones are drawn, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.plots import draw_plots, main

TIMES = {"p50_ms": 0.5, "p99_ms": 1.5}
SIZE = {
    **TIMES,
    "filtered": TIMES,
    "excluded": TIMES,
    "rss_bytes": 2e8,
    "table_bytes": 1e6,
}


@pytest.fixture
def figures() -> dict[str, Any]:
    return {
        "catalogue": {"3700": SIZE, "1000000": SIZE, "10000000": {"left_out": "too little memory"}},
        "lengths": {"5": TIMES, "200": TIMES},
        "batches": {"1": TIMES, "128": TIMES},
        "ks": {"10": TIMES, "100": TIMES},
        "open_loop": {"100": TIMES, "2000": TIMES},
    }


@pytest.mark.slow
def test_everything_that_was_measured_is_drawn(
    figures: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "bench.json"
    results.write_text(json.dumps(figures))
    assert main([str(results), "--out", str(tmp_path / "plots")]) == 0
    drawn = {path.stem: path.read_text() for path in (tmp_path / "plots").iterdir()}
    assert set(drawn) == {
        *("latency-by-catalogue", "memory-by-catalogue", "latency-by-history"),
        *("latency-by-batch", "latency-by-k", "latency-by-rate"),
    }
    assert all(text.startswith("<?xml") and len(text) < 60_000 for text in drawn.values())
    assert "a filter leaves 1 %, p99" in drawn["latency-by-catalogue"]
    assert "items in the stored history" in drawn["latency-by-history"]
    assert len(capsys.readouterr().out.splitlines()) == len(drawn)
    # To draw them again changes nothing under version control.
    again = draw_plots(figures, tmp_path / "again")
    assert {path.stem: path.read_text() for path in again} == drawn


def test_plots_without_figures_are_left_out(
    figures: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [p.name for p in draw_plots({"ks": figures["ks"]}, tmp_path)] == ["latency-by-k.svg"]
    (tmp_path / "empty.json").write_text("{}")
    assert main([str(tmp_path / "empty.json"), "--out", str(tmp_path)]) == 1
    assert "has no figures of any plot" in capsys.readouterr().err
