"""A reranking grid through the command, with models of some thousand weights."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longtail
from model_store.rerank_prompt import LABELS
from offline.benchmark import rerank_cells
from offline.benchmark.rerank_cells import (
    ADAPTIVE,
    ALL,
    ALONE,
    AUGMENTED,
    BASE,
    CONTROLS,
    UNIFORM,
)
from offline.data.split import Split, draw_users
from offline.instruction.label_scorer import Float32
from tests.end_to_end.conftest import Workshop
from tests.end_to_end.test_benchmark import RECIPE, write_interactions
from tests.offline.instruction.tiny_models import save_family

pytestmark = pytest.mark.slow

GRID = """
kind = "reranking"
description = "A small reranker"
seeds = [0, 1]
recipe = "{recipe}"
augmentation = {{ share = 0.5, n_candidates = 3 }}

[[data]]
name = "made"

[language_model]
model = "{model}"

[layout]
n_candidates = 4
n_history = 5
n_similar = 3
"""


class KnowsTheCycle:
    """Ranks the item that follows the history's newest first; remembers its prompts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def scores(self, prompts: Sequence[str], n_labels: Sequence[int]) -> list[Float32]:
        self.asked += prompts
        return [self._score(prompt, n) for prompt, n in zip(prompts, n_labels, strict=True)]

    def ratings(self, beginnings: Sequence[str], ends: Sequence[Sequence[str]]) -> list[Float32]:
        raise NotImplementedError

    def _score(self, prompt: str, n: int) -> Float32:
        newest = int(re.findall(r"History: .*?i(\d+)\n", prompt)[0])
        shown = [
            re.findall(rf"^{label}\. i(\d+)$", prompt, re.MULTILINE)[0] for label in LABELS[:n]
        ]
        return np.array([int(item) == (newest + 1) % 12 for item in shown], np.float32)


def command_for(workshop: Workshop, folder: Path, model: str) -> list[str]:
    recipe, grid, data = folder / "tiny.toml", folder / "small.toml", folder / "made.csv"
    recipe.write_text(RECIPE.format(encoder=workshop.encoder))
    grid.write_text(GRID.format(recipe=recipe, model=model))
    write_interactions(data)
    places = ["--data", f"made={data}", "--out", str(folder / "out")]
    return ["benchmark", str(grid), *places, "--results", str(folder / "results")]


def results_of(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / "results" / "small.json").read_text())
    figures: dict[str, Any] = document["data"]["made"]
    return figures


def test_a_model_that_knows_reranks_to_the_top_and_no_prompt_tells_it(
    workshop: Workshop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scorer = KnowsTheCycle()
    monkeypatch.setattr(rerank_cells, "open_scorer", lambda *_: scorer)
    model = str(save_family("llama", tmp_path / "llama"))
    command = command_for(workshop, tmp_path, model)
    assert longtail.main(command) == 0
    said = capsys.readouterr().out
    assert "made: 5 prompts a case, 80 cases, seeds 2: at most 800 forward passes" in said
    assert re.search(r"prompts to ask for the base, \S+ s each", said)

    data, page = results_of(tmp_path), (tmp_path / "results" / "small.md").read_text()
    entries = {name: entry["test"] for name, entry in data["entries"].items()}
    rows = ["popularity", "markov", BASE, ALONE, UNIFORM, ADAPTIVE, AUGMENTED, ALL, *CONTROLS]
    assert set(rows) < set(entries)
    assert len([name for name in entries if "without" in name]) == 3
    for name in rows:
        assert f"| {name} | {2 if name not in rows[:2] else 1} | " in page
    assert entries[BASE].get("gain") is None

    split = Split.load(tmp_path / "out/made/data/split")
    out = tmp_path / "out/made/base/seed-0"
    base = np.load(next(out.glob("ranks/*/test.npy")))
    asked = json.loads((out / "candidates/test.json").read_text())
    assert sorted(asked["cases"]) == np.flatnonzero(base <= 4).tolist()
    # The model is right about each case that it is asked about.
    alone = base.copy()
    alone[asked["cases"]] = 1
    other = np.load(next((tmp_path / "out/made/base/seed-1").glob("ranks/*/test.npy")))
    hits = np.mean([alone <= 3, np.where(other <= 4, 1, other) <= 3])
    assert entries[ALONE]["all"]["hit_rate_at_3"] == pytest.approx(hits, abs=1e-6)
    assert entries[ALONE]["gain"]["all"]["ndcg_at_10"]["mean"] > 0
    assert entries[ADAPTIVE]["all"]["ndcg_at_10"] >= entries[BASE]["all"]["ndcg_at_10"]

    for case, question in zip(asked["cases"], asked["questions"], strict=True):
        target = split.test.targets[case]
        assert question["history"] == split.test.history(case)[-5:].tolist()
        assert target not in question["history"]
        others = [user for user in range(40) if user != question["user"]]
        assert question["similar"] in [split.train_history(user)[-3:].tolist() for user in others]
    n_asked = len(scorer.asked)
    capsys.readouterr()
    assert longtail.main(command) == 0
    assert len(scorer.asked) == n_asked
    assert "prompts to ask" not in capsys.readouterr().out


def test_a_random_model_is_weighed_by_validation_and_opened_from_its_folder(
    workshop: Workshop, tmp_path: Path
) -> None:
    model = str(save_family("llama", tmp_path / "llama"))
    command = command_for(workshop, tmp_path, model)
    grid = tmp_path / "small.toml"
    changed = grid.read_text().replace("seeds = [0, 1]", "seeds = [0]\nusers = 30")
    grid.write_text(changed.replace("share = 0.5", "share = 0.0"))
    assert longtail.main(command) == 0
    data = results_of(tmp_path)
    for row, weighting in data["choices"][0]["weightings"].items():
        gain = data["entries"][row]["validation"]["all"]["ndcg_at_10"]
        base = data["entries"][BASE]["validation"]["all"]
        assert gain >= base["ndcg_at_10"] - 1e-6, (row, weighting)
    assert not {AUGMENTED, ALL} & set(data["entries"])
    assert not list((tmp_path / "out").glob("**/augment*"))
    split = Split.load(tmp_path / "out/made/data/split")
    is_drawn = draw_users(40, 30)
    for path in (tmp_path / "out").glob("**/candidates/test.json"):
        asked = json.loads(path.read_text())["cases"]
        assert asked
        assert is_drawn[split.test.users[asked]].all()
    assert data["measured_users"] == data["entries"][BASE]["test"]["all"]["cases"] == 30
    facts = json.loads(
        next((tmp_path / "out").glob("**/whole-prompt/llm_scores/stage.json")).read_text()
    )["facts"]
    assert len(facts["label_bias"]) == 4
    assert any(facts["label_bias"])
    assert longtail.main([*command, "--only", BASE]) == 1


def test_a_missing_adapter_is_reported_before_any_work(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = command_for(workshop, tmp_path, "no/model")
    grid = tmp_path / "small.toml"
    grid.write_text(grid.read_text().replace('"no/model"', '"no/model"\nadapter = "nowhere"'))
    assert longtail.main(command) == 1
    assert "adapter 'nowhere': there is no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
