"""From a data set to an adapter through the stages, with a killed run in between."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from offline.instruction.adapters import ADAPTER, ADAPTER_CONFIG
from offline.instruction.config import InstructionConfig, InstructionTuningConfig
from offline.instruction.instructions import Instruction
from offline.instruction.label_tuning import LabelTuning
from offline.instruction.scorer_choice import ScorerChoice
from offline.stages.data import DataArtifact
from offline.stages.instruction import InstructionArtifact, InstructionStage
from offline.stages.stage import run_stage
from offline.stages.tuning import TuningStage
from tests.offline.instruction.tiny_models import LAYOUT, save_family
from tests.offline.stages.first_stages import make_first_stages

CHOICES = InstructionConfig(layout=LAYOUT, folds=2, max_rankings=16, max_ratings=8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="module")
def made(root: Path) -> tuple[DataArtifact, InstructionArtifact]:
    data, encoding, fitted = make_first_stages(root)
    return data, run_stage(InstructionStage(data, encoding, fitted, CHOICES), root)


def test_examples_have_counts_and_samples(made: tuple[DataArtifact, InstructionArtifact]) -> None:
    _, instruction = made
    report = json.loads(instruction.path("report.json").read_text())
    assert report["rankings"] == len(instruction.examples().rankings) == 16
    assert report["ratings"] == len(instruction.examples().ratings) == 8
    assert report["samples"][0]["prompt"].endswith("Answer:")
    assert instruction.layout() == LAYOUT
    assert not instruction.path("folds").exists()


class StoppedError(Exception):
    pass


def test_a_killed_tuning_goes_on_at_its_step_and_is_not_repeated(
    root: Path,
    made: tuple[DataArtifact, InstructionArtifact],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = str(save_family("llama", root / "llama"))
    tuning = InstructionTuningConfig(
        model=model, batch_size=4, save_every_s=1e-9, device="cpu", learning_rate=0.01
    )
    stage = TuningStage(*made, tuning)
    loss, steps = LabelTuning.loss, []

    def watched(
        task: LabelTuning, batch: list[Instruction], rng: np.random.Generator
    ) -> torch.Tensor:
        steps.append(len(batch))
        if len(steps) == 4:
            raise StoppedError
        return loss(task, batch, rng)

    monkeypatch.setattr(LabelTuning, "loss", watched)
    with pytest.raises(StoppedError):
        run_stage(stage, root)
    tuned = run_stage(stage, root)
    n_examples = tuned.facts["examples"]
    assert sum(steps) - steps[3] == n_examples  # no step was run twice
    assert {path.name for path in tuned.weights.iterdir()} == {
        ADAPTER,
        ADAPTER_CONFIG,
        "layout.json",
    }
    assert ScorerChoice(adapter=str(tuned.weights)).tuned_layout == LAYOUT
    report = json.loads(tuned.path(tuned.REPORT).read_text())
    assert report["after"]["loss"] == pytest.approx(tuned.facts["loss"], abs=1e-4)
    assert not tuned.path("checkpoint").exists()

    assert run_stage(stage, root).fingerprint == tuned.fingerprint
    assert sum(steps) - steps[3] == n_examples
    often = tuning.model_copy(update={"save_every_s": 60.0})
    assert TuningStage(*made, often).fingerprint() == tuned.fingerprint
    other = tuning.model_copy(update={"rank": 4})
    assert TuningStage(*made, other).fingerprint() != tuned.fingerprint
