"""Tune the text encoder on the build's own behaviour (Rethinking PLM 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from offline.artifact import Artifact, Facts, write_json
from offline.behaviour.config import BehaviourConfig
from offline.encoding.config import EncodedText
from offline.fingerprint import hash_inputs
from offline.stages.data import DataArtifact
from offline.stages.encoder_choice import EncoderChoice
from offline.stages.knowledge import KnowledgeArtifact
from offline.stages.stage import Stage
from offline.training.group import current

RECORD = "record.json"


class BehaviourArtifact(Artifact):
    """The tuned encoders, one of each stage of tuning."""

    def encoder(self, stage: str) -> EncoderChoice:
        """That of one stage of tuning, `ft1` or `ft2`."""
        return EncoderChoice(str(self.path(stage)), {self.name: self.fingerprint})


@dataclass(frozen=True)
class BehaviourStage(Stage[BehaviourArtifact]):
    """From an encoder and interactions to an encoder that knows which items follow which.

    Attributes:
        data: the interactions; those held out for testing are not read.
        knowledge: texts of the items.
        choices: how to tune, in one stage at least.
        encoder: to start from, where the choices name no folder.
        text: the part of an item's texts that is encoded.
    """

    data: DataArtifact
    knowledge: KnowledgeArtifact
    choices: BehaviourConfig
    encoder: str
    text: EncodedText

    name = "behaviour"
    trains = True

    @property
    def artifact(self) -> type[BehaviourArtifact]:
        """See `BehaviourArtifact`."""
        return BehaviourArtifact

    @property
    def config(self) -> Facts:
        """All choices, the encoder by its name."""
        return self.choices.model_dump() | {"encoder": self.encoder, "text": self.text}

    @property
    def inputs(self) -> Mapping[str, str]:
        """Data, knowledge, and an encoder's folder by its content."""
        folders = {"start": self.choices.start, "encoder": self.encoder}
        hashed = {n: hash_inputs([Path(path)]) for n, path in folders.items() if _is_folder(path)}
        return {**super().inputs, **hashed}

    def run(self, folder: Path) -> Facts:
        """Write an encoder for each stage of tuning, and the records of the tuning.

        Raises:
            ConfigError: the encoder can't be read, or hasn't the layers.
            InputError: no user has two interactions to learn from, or the loss diverged.
        """
        from offline.behaviour.stages import describe, tune_on_behaviour
        from offline.encoding.item_vectors import texts_to_encode

        knowledge = self.knowledge
        texts = texts_to_encode(knowledge.item_texts(), knowledge.knowledge(), self.text)
        records = tune_on_behaviour(texts, self.data.split(), self.choices, self.encoder, folder)
        if not current().leads:
            return {}
        write_json(folder / RECORD, {name: record.to_dict() for name, record in records.items()})
        return describe(records)


def _is_folder(name: str) -> bool:
    return bool(name) and Path(name).is_dir()
