"""The command that times reranks, with a tiny model and a tiny data set."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from offline.data.dataset import read_dataset
from offline.instruction import pace
from offline.instruction.sample_prompts import sample_prompts
from tests.offline.instruction.tiny_models import LAYOUT, save_small_llama

ITEMS = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six users, each with all items but some."""
    rows = [
        (f"u{user}", f"i{item}", user + item)
        for user in range(6)
        for item in range(ITEMS)
        if (user + item) % 4
    ]
    columns = ("user_id", "item_id", "timestamp")
    pl.DataFrame(rows, columns, orient="row").write_csv(tmp_path / "interactions.csv")
    titles = [(f"i{item}", f"film {item}") for item in range(ITEMS)]
    pl.DataFrame(titles, ("item_id", "title"), orient="row").write_csv(tmp_path / "items.csv")
    return tmp_path


def test_sample_prompts_have_full_histories_and_other_candidates(folder: Path) -> None:
    prompts = sample_prompts(read_dataset(folder), LAYOUT, n_prompts=8)
    assert len(prompts) == 8
    for prompt in prompts:
        assert len(prompt.history) == LAYOUT.n_history
        assert len(set(prompt.candidates)) == LAYOUT.n_candidates
        assert not set(prompt.history) & set(prompt.candidates)
        similar = prompt.text.split("Similar user: ")[1].splitlines()[0]
        assert len(similar.split("; ")) == LAYOUT.n_similar


def test_sample_prompts_of_few_items_and_short_histories_without_titles(folder: Path) -> None:
    (folder / "items.csv").unlink()
    layout = LAYOUT.model_copy(update={"n_history": 20, "n_candidates": 20})
    for prompt in sample_prompts(read_dataset(folder), layout, n_prompts=3):
        assert len(prompt.history) == 9
        assert sorted([*prompt.history, *prompt.candidates]) == sorted(
            f"i{item}" for item in range(ITEMS)
        )


@pytest.mark.slow
def test_each_method_is_timed_and_the_last_line_is_a_document(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pace, "SIZES", (3, 2))
    model = str(save_small_llama(folder / "llama"))
    arguments = ["--model", model, "--interactions", str(folder), "--prompts", "4"]
    assert pace.main([*arguments, "--threads", "1"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    timed = [(timing["method"], timing["size"], timing["threads"]) for timing in figures["timings"]]
    assert timed == [
        *((method, size, 1) for size in (3, 2) for method in ("float32", "int8", "int8 decoding")),
        ("generation", 3, 1),
        ("generation", 2, 1),
    ]
    assert all(0 < t["p50_ms"] <= t["p90_ms"] for t in figures["timings"])
    assert figures["file_bytes"]["int8"] < figures["file_bytes"]["float32"]
    assert figures["rank_agreement"]["float32"] == pytest.approx(1)
    assert len(table) == 1 + len(timed)


def test_too_few_prompts_are_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert pace.main(["--prompts", "1"]) == 1
    assert capsys.readouterr().err == "offline.instruction.pace: --prompts 1: at least 4\n"


def test_histories_that_are_too_short_are_one_clear_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(save_small_llama(folder / "llama"))
    assert pace.main(["--model", model, "--interactions", str(folder)]) == 1
    assert "no user of the data set has 20 interactions" in capsys.readouterr().err
