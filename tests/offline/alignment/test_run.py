from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from model_store.errors import ConfigError
from offline.alignment.experience import Experience, Source
from offline.alignment.learner import AlignmentLearner
from offline.alignment.models import Models
from offline.alignment.recommender_update import RecommenderUpdate
from offline.alignment.run import align, pooled, synchronous
from offline.alignment.watch import read_figures
from tests.offline.alignment.world import make_inputs, make_models


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def whole(tiny: Path) -> Path:
    """An alignment that nothing interrupted."""
    folder = tiny / "whole"
    align(make_inputs(tiny), folder, tiny / "cache", synchronous)
    return folder


def weights(folder: Path) -> dict[str, np.ndarray]:
    found = load_file(folder / "work" / "alignment.safetensors")
    return {name: tensor.numpy() for name, tensor in found.items()}


def test_an_alignment_leaves_weights_and_a_report(whole: Path) -> None:
    report = json.loads((whole / "report.json").read_bytes())
    assert report["steps"] == 4
    assert report["stopped"] is None
    assert [look["step"] for look in report["looks"]] == [0, 2, 4]
    assert set(report["texts"]) == {f"i{number}" for number in range(1, 13)}
    assert all(0 <= look["ndcg"] <= 1 for look in report["looks"])
    assert [line["step"] for line in read_figures(whole)] == [1, 2, 3, 4]
    assert (whole / "weights" / "adapter_model.safetensors").is_file()
    assert (whole / "encoder" / "model.safetensors").is_file()
    assert list((whole / "events").glob("events.out.tfevents.*"))


def test_both_models_move(whole: Path) -> None:
    tensors = weights(whole)
    moved = [n for n in tensors if n.startswith("policy/network") and "lora_B" in n]
    assert moved
    assert all(np.abs(tensors[name]).max() > 0 for name in moved)
    assert any(name.startswith("recommender/network/encoder") for name in tensors)


def test_a_killed_run_comes_to_the_same_weights(
    tiny: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = AlignmentLearner.update

    def killed(self: AlignmentLearner, experiences: object) -> object:
        if self.n_steps == 3:
            raise KeyboardInterrupt
        return update(self, experiences)

    folder = tiny / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(AlignmentLearner, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            align(make_inputs(tiny), folder, tiny / "cache", synchronous)
    align(make_inputs(tiny), folder, tiny / "cache", synchronous)
    expected, found = weights(whole), weights(folder)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)
    assert [line["step"] for line in read_figures(folder)] == [1, 2, 3, 4]
    reports = [json.loads((each / "report.json").read_bytes()) for each in (whole, folder)]
    assert reports[0]["looks"] == reports[1]["looks"]


def test_texts_of_a_pool_are_rewarded_again_and_again(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = {"mode": "pool", "items_per_step": 2, "examples_per_item": 3, "freeze_encoder": True}
    inputs = make_inputs(tiny, steps=3, kl_coefficient=0.0, **choices)
    drawn: list[Sequence[Experience]] = []
    read: list[Sequence[Experience]] = []
    step = RecommenderUpdate.step

    def noted(self: RecommenderUpdate, experiences: Sequence[Experience]) -> object:
        read.append(experiences)
        return step(self, experiences)

    monkeypatch.setattr(RecommenderUpdate, "step", noted)

    def open_source(models: Models, learner: AlignmentLearner) -> Source:
        source = pooled(models, learner)
        drawn.append(source.take(1))
        return source

    report = align(inputs, tiny / "pool", tiny / "cache", open_source)
    (first,) = drawn
    assert len({each.group for each in first}) == 2
    assert len(first) == 2 * 4 * 3
    assert all(each.history[-1] == each.texts[0].item == each.group for each in first)
    examples = {(each.history.tobytes(), each.target) for each in first}
    assert {(each.history.tobytes(), each.target) for each in read[0]} == examples
    assert len(read[0]) == len(examples)  # the recommender reads one text of each
    figures = read_figures(tiny / "pool")
    assert figures[0]["llm/importance_ratio"] == 1.0
    assert figures[0]["llm/kl_per_token"] == pytest.approx(0.0, abs=1e-6)
    assert figures[2]["llm/importance_ratio"] != 1.0
    assert report["steps"] == 3
    assert not (tiny / "pool" / "encoder").exists()


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        ("knowledge", "model", "none", "needs an LLM"),
        ("knowledge", "base_url", "http://127.0.0.1:1/v1", "behind an endpoint"),
        ("encoding", "text", "item", "would not read"),
        ("recommender", "knowledge_beside_ids", False, "knowledge_beside_ids = false"),
    ],
)
def test_what_cannot_be_aligned_is_named(
    tiny: Path, tmp_path: Path, table: str, key: str, value: object, message: str
) -> None:
    inputs = make_inputs(tiny)
    changed = getattr(inputs.settings, table).model_copy(update={key: value})
    settings = inputs.settings.model_copy(update={table: changed})
    wrong = type(inputs)(**{**vars(inputs), "settings": settings})
    with pytest.raises(ConfigError, match=message):
        align(wrong, tmp_path, tiny / "cache", synchronous)
