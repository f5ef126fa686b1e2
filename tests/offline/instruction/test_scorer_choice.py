from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from model_store.errors import ConfigError, InputError
from model_store.rerank_prompt import PromptLayout
from offline.benchmark.rerank_grid import RerankGrid
from offline.instruction import label_graph, scorer_choice
from offline.instruction.label_model import LabelModel
from offline.instruction.onnx_scorer import OnnxLabelScorer
from offline.instruction.scorer_choice import ScorerChoice, open_scorer
from tests.offline.instruction.tiny_models import LAYOUT, make_llama, save_family

GRID = {"kind": "reranking", "description": "small", "data": [{"name": "made"}]}
PROMPT = LAYOUT.listwise(["alien"], ["heat", "war", "toy"], [2, 0, 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in `model/`, and in `adapter/` one that answers otherwise."""
    folder = tmp_path_factory.mktemp("choice")
    save_family("llama", folder / "model")
    model = get_peft_model(make_llama(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder / "adapter")
    return folder


def scores_of(choice: ScorerChoice, cache: Path) -> np.ndarray:
    return open_scorer(choice, cache, [PROMPT], [3]).scores([PROMPT], [3])[0]


def test_a_model_answers_otherwise_with_its_adapter(folder: Path, tmp_path: Path) -> None:
    plain = ScorerChoice(model=str(folder / "model"))
    adapted = plain.model_copy(update={"adapter": str(folder / "adapter")})
    assert np.abs(scores_of(plain, tmp_path) - scores_of(adapted, tmp_path)).max() > 0.01
    assert set(plain.fingerprints()) == {"language model"}
    assert set(adapted.fingerprints()) == {"language model", "adapter"}


def test_in_8_bits_the_graph_of_the_adapted_model_answers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[tuple[LabelModel, str, list[str], list[int]]] = []

    def export(model: LabelModel, _folder: Path, precision: str, *given: list[Any]) -> str:
        exported.append((model, precision, *given))
        return "graph"

    monkeypatch.setattr(label_graph, "export_label_graph", export)
    monkeypatch.setattr(OnnxLabelScorer, "open", lambda _folder, graph, _threads: graph)
    adapted = ScorerChoice(model=str(folder / "model"), adapter=str(folder / "adapter"))
    served = adapted.model_copy(update={"precision": "int8"})
    prompts = [LAYOUT.listwise([f"film {n}"], ["heat", "war"], [0, 1]) for n in range(100)]
    n_labels = list(range(100))
    assert open_scorer(served, tmp_path, prompts, n_labels) == "graph"
    ((model, precision, shown, of_shown),) = exported
    assert precision == "int8"
    assert len(shown) == 16
    assert (shown[0], shown[-1]) == (prompts[0], prompts[-1])
    assert [prompts[n] for n in of_shown] == shown
    np.testing.assert_allclose(model.scores([PROMPT], [3])[0], scores_of(adapted, tmp_path))


def test_an_adapter_may_state_the_layout_that_it_was_tuned_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer_choice, "BUNDLED", tmp_path)
    (tmp_path / "films").mkdir()
    choice = ScorerChoice(adapter="films")
    assert choice.adapter_folder == tmp_path / "films"
    assert choice.tuned_layout is None
    (tmp_path / "films" / "layout.json").write_text('{"n_candidates": 7}')
    assert choice.tuned_layout == PromptLayout(n_candidates=7)
    grid = RerankGrid.model_validate(GRID | {"language_model": choice.model_dump()})
    assert grid.with_tuned_layout().layout.n_candidates == 7
    stated = RerankGrid.model_validate(grid.model_dump(exclude_unset=True) | {"layout": {}})
    assert stated.with_tuned_layout().layout.n_candidates == 10
    (tmp_path / "films" / "layout.json").write_text('{"n_candidates": 99}')
    with pytest.raises(ConfigError, match=r"adapter 'films': layout\.json: "):
        _ = choice.tuned_layout


def test_a_missing_or_damaged_adapter_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    choice = ScorerChoice(model=str(folder / "model"), adapter=str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match=r"nothing.*no such folder"):
        open_scorer(choice, tmp_path, [PROMPT], [3])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"nothing: holds no adapter"):
        open_scorer(choice, tmp_path, [PROMPT], [3])
