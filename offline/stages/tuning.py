"""Tune a language model on instruction examples (Llama4Rec 4.5.2)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model_store.rerank_prompt import item_titles
from offline.artifact import Artifact, Facts, write_json
from offline.cache import cache_folder
from offline.fingerprint import hash_inputs
from offline.instruction.config import InstructionTuningConfig
from offline.instruction.reranking_config import LAYOUT
from offline.stages.data import DataArtifact
from offline.stages.instruction import InstructionArtifact
from offline.stages.stage import Stage

CHECKPOINT = "checkpoint"
"""In the partial folder, to resume from."""


class TuningArtifact(Artifact):
    """The tuned weights, and `report.json` with figures."""

    WEIGHTS, REPORT = "weights", "report.json"

    @property
    def weights(self) -> Path:
        """Folder of the adapter, or of the whole model with its tokenizer, and the layout."""
        return self.path(self.WEIGHTS)


@dataclass(frozen=True)
class TuningStage(Stage[TuningArtifact]):
    """From examples to tuned weights.

    Attributes:
        data: titles of the items.
        instruction: the examples, and the layout of their prompts.
        tuning: model, method and training.
    """

    data: DataArtifact
    instruction: InstructionArtifact
    tuning: InstructionTuningConfig

    name = "tuning"

    @property
    def artifact(self) -> type[TuningArtifact]:
        """See `TuningArtifact`."""
        return TuningArtifact

    @property
    def config(self) -> Facts:
        """All choices that decide the result: how often it is saved does not."""
        return self.tuning.model_dump(exclude={"save_every_s"})

    @property
    def inputs(self) -> Mapping[str, str]:
        """Data and examples; a local language model and a starting adapter by their files."""
        places = {"language model": self.tuning.model, "start": self.tuning.start}
        local = {n: hash_inputs([Path(p)]) for n, p in places.items() if p and Path(p).exists()}
        return {**super().inputs, **local}

    def run(self, folder: Path) -> Facts:
        """Write weights and report; a run that was killed resumes at the step it was in.

        Raises:
            ConfigError: the language model can't be read or ranked with.
            InputError: there are no examples, or the loss is no longer a number.
        """
        from offline.instruction.tunable import open_tunable
        from offline.instruction.tuning import tune

        tunable, layout = open_tunable(self.tuning, cache_folder()), self.instruction.layout()
        tuned = tune(
            tunable.model,
            tunable.weights,
            self.instruction.examples(),
            layout,
            item_titles(self.data.attributes(), self.data.item_ids().ids),
            self.tuning,
            folder / CHECKPOINT,
        )
        tunable.save(folder / TuningArtifact.WEIGHTS)
        write_json(folder / TuningArtifact.WEIGHTS / LAYOUT, layout.model_dump())
        write_json(folder / TuningArtifact.REPORT, tuned.to_dict())
        shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
        facts = {"examples": tuned.n_examples, "parameters": tuned.n_parameters}
        if tuned.before is None or tuned.after is None:
            return facts
        figures = {
            "loss_before": tuned.before.loss,
            "loss": tuned.after.loss,
            "ndcg_before": tuned.before.ndcg,
            "ndcg": tuned.after.ndcg,
            "r2_before": tuned.before.r2,
            "r2": tuned.after.r2,
        }
        return facts | {name: round(value, 4) for name, value in figures.items() if value}
