"""A reranker from a recipe to a bundle to an answer, with models of some thousand weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.bundle import Bundle
from tests.end_to_end.conftest import Workshop
from tests.offline.instruction.tiny_models import save_small_llama

pytestmark = pytest.mark.slow

RERANKING = """
[reranking]
tune = true
precision = "float32"

[reranking.instruction]
folds = 2
max_rankings = 40
max_ratings = 8
layout = {{ n_candidates = 4, n_history = 3, n_similar = 2, max_title_characters = 20 }}

[reranking.tuning]
model = "{llm}"
rank = 2
batch_size = 16
"""


@pytest.fixture(scope="module")
def tuning(built: Path, workshop: Workshop) -> Workshop:
    """A recipe that tunes a language model, beside a build without one to go on from."""
    llm = save_small_llama(workshop.root / "rerank-llm")
    recipe = workshop.root / "reranked.toml"
    recipe.write_text(workshop.recipe.read_text() + RERANKING.format(llm=llm))
    shutil.copytree(built, workshop.root / "reranked")
    return replace(workshop, recipe=recipe)


def built_bundle(workshop: Workshop, *flags: str) -> Bundle:
    assert workshop.build("reranked", *flags) == 0
    return Bundle.open(workshop.root / "reranked" / "bundle")


def test_a_language_model_is_tuned_exported_and_weighed(tuning: Workshop) -> None:
    assert built_bundle(tuning, "--reranker", "later").manifest.reranker is None

    bundle = built_bundle(tuning)
    info = bundle.manifest.reranker
    assert info is not None
    assert info.graph is not None
    assert info.graph.precision == "float32"
    assert info.graph.rank_agreement == pytest.approx(1, abs=1e-3)
    assert info.layout.n_candidates == len(info.label_bias) == 4
    assert bundle.user_vectors is not None
    assert len(bundle.user_vectors) == bundle.manifest.n_users
    facts = json.loads((bundle.folder.parent / "reranker" / "stage.json").read_bytes())["facts"]
    assert facts["asked"] > 0
    assert facts["validation_ndcg_at_10"] >= facts["without"]
    assert info.weighting.alpha_1 == facts["alpha_1"]

    later = built_bundle(tuning, "--reranker", "later")
    assert later.manifest.inputs == bundle.manifest.inputs
    assert built_bundle(tuning, "--reranker", "never").manifest.reranker is None


def test_an_adapter_that_is_not_there_is_one_line(
    tuning: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tuning.root / "nowhere.toml"
    recipe.write_text(tuning.recipe.read_text().replace("tune = true", 'adapter = "nowhere"'))
    assert replace(tuning, recipe=recipe).build("missing") == 1
    [line] = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("longtail build: reranking.adapter = 'nowhere'")
