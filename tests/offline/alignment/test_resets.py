"""LLM and recommender of an alignment, each set back to before it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model_store.errors import InputError
from offline.alignment.resets import measure_resets
from offline.alignment.run import RECOMMENDERS, align, pooled
from offline.recommender.recommender import Vectors
from tests.offline.alignment.world import make_inputs, make_models


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("tiny"))


def test_each_pair_is_measured(tiny: Path) -> None:
    inputs = make_inputs(
        tiny,
        mode="pool",
        freeze_encoder=True,
        examples_per_item=4,
        recommender_learning_rate=0.05,
    )
    align(inputs, tiny / "out", tiny, pooled)
    settings = inputs.settings
    before: Vectors = np.load(tiny / "out" / "work" / "vectors.npy")
    data = inputs.training_data(before)
    aligned = np.zeros_like(before)
    # Each item is known by another one's text, and ten times as loudly: so little training lets
    # texts count for little, and sixteen users' NDCG@10 might not move.
    aligned[1:] = 10 * np.roll(before[1:], 3, axis=0)
    parts = {"validation": inputs.validation}
    recommender = settings.recommender, settings.training
    path = tiny / "out" / RECOMMENDERS
    rows = measure_resets(path, *recommender, data, aligned, parts)
    assert [(row["llm"], row["recommender"]) for row in rows] == [
        ("before", "before"),
        ("aligned", "before"),
        ("before", "aligned"),
        ("aligned", "aligned"),
    ]
    figures = [row["validation"] for row in rows]
    looks = json.loads((tiny / "out" / "report.json").read_bytes())["looks"]
    assert figures[0]["ndcg_at_10"] == pytest.approx(looks[0]["ndcg"])
    assert (figures[0]["gain"], figures[0]["from"], figures[0]["to"]) == (0.0, 0.0, 0.0)
    assert figures[1] != figures[0]
    assert figures[2] != figures[0]
    for row in figures:
        assert row["gain"] == pytest.approx(row["ndcg_at_10"] - figures[0]["ndcg_at_10"])
    same = measure_resets(path, *recommender, data, before, parts)
    assert same[1]["validation"] == same[0]["validation"]


def test_a_file_of_something_else_is_named(tiny: Path, tmp_path: Path) -> None:
    inputs = make_inputs(tiny)
    settings, vectors = inputs.settings, np.ones((13, 4), np.float32)
    path = tmp_path / "none.safetensors"
    with pytest.raises(InputError, match="holds no recommenders"):
        measure_resets(
            path,
            settings.recommender,
            settings.training,
            inputs.training_data(vectors),
            vectors,
            {},
        )
