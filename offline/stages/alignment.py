"""Align the LLM that writes about items with the recommender (SeRALM 4.4)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offline.alignment.config import WITHOUT_INFLUENCE
from offline.alignment.settings import Settings
from offline.artifact import Artifact, Facts
from offline.cache import cache_folder
from offline.fingerprint import hash_inputs
from offline.stages.data import DataArtifact
from offline.stages.encoder_choice import EncoderChoice
from offline.stages.knowledge import KnowledgeArtifact
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.alignment.inputs import AlignmentInputs


class AlignmentArtifact(Artifact):
    """The aligned LLM, and `report.json` with figures and texts before and after."""

    WEIGHTS, ENCODER, REPORT = "weights", "encoder", "report.json"
    RECOMMENDERS = "recommenders.safetensors"

    @property
    def weights(self) -> Path:
        """Folder of the LLM's adapter, or of the whole LLM with its tokenizer."""
        return self.path(self.WEIGHTS)

    @property
    def recommenders(self) -> Path:
        """File of the recommender's weights before alignment and after it."""
        return self.path(self.RECOMMENDERS)

    def encoder(self) -> EncoderChoice:
        """The text encoder as it was trained with the recommender; there unless it was frozen."""
        return EncoderChoice(str(self.path(self.ENCODER)), {self.name: self.fingerprint})


@dataclass(frozen=True)
class AlignmentStage(Stage[AlignmentArtifact]):
    """From texts and interactions to an LLM that writes what helps the recommender.

    Attributes:
        data: its training part rewards; its validation part is measured as alignment goes on.
        knowledge: before alignment.
        encoder: of the texts.
        settings: of alignment, LLM, encoder and recommender.
    """

    data: DataArtifact
    knowledge: KnowledgeArtifact
    encoder: EncoderChoice
    settings: Settings

    name = "alignment"

    @property
    def artifact(self) -> type[AlignmentArtifact]:
        """See `AlignmentArtifact`."""
        return AlignmentArtifact

    @property
    def config(self) -> Facts:
        """All choices that decide the result."""
        return self.settings.model_dump(exclude={"alignment": WITHOUT_INFLUENCE, "encoder": True})

    @property
    def inputs(self) -> Mapping[str, str]:
        """Data, texts, the encoder's origin; a prompt file and a local LLM by their content."""
        named = {"prompt": self.settings.knowledge.prompt, "LLM": self.settings.knowledge.model}
        local = {name: hash_inputs([Path(p)]) for name, p in named.items() if Path(p).exists()}
        return {**super().inputs, **self.encoder.inputs, **local}

    def run(self, folder: Path) -> Facts:
        """Write weights, report, figures and event files; a killed run resumes at its step.

        Raises:
            LongtailError: a model, a setting or the data can't be used, in one line.
        """
        from offline.alignment.modes import source_of
        from offline.alignment.run import WORK, align

        cache = cache_folder()
        source = source_of(self.settings.alignment, folder / WORK, cache)
        report = align(self._read(), folder, cache, source)
        shutil.rmtree(folder / WORK)
        return _facts(report)

    def _read(self) -> AlignmentInputs:
        from offline.alignment.inputs import AlignmentInputs

        split, knowledge = self.data.split(), self.knowledge
        users = range(len(split.train_offsets) - 1)
        return AlignmentInputs(
            self.settings,
            [*self.data.item_ids().ids],
            knowledge.item_texts(),
            knowledge.knowledge(),
            [split.train_history(user) for user in users],
            split.validation,
        )


def _facts(report: Mapping[str, Any]) -> Facts:
    first, last = report["looks"][0], report["looks"][-1]
    facts = {"steps": report["steps"], "parameters": report["tuned_parameters"]}
    if report["stopped"] is not None:
        facts["stopped"] = report["stopped"]
    if first["ndcg"] is not None:
        facts |= {"ndcg_before": round(first["ndcg"], 4), "ndcg": round(last["ndcg"], 4)}
    return facts
