"""Tune a text encoder on the behaviour in other data sets: stage PT (Rethinking PLM 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from offline.artifact import Artifact, Facts, write_json
from offline.behaviour.config import PretrainingConfig
from offline.inputs import Source
from offline.stages.encoder_choice import EncoderChoice
from offline.stages.stage import Log, Stage

if TYPE_CHECKING:
    from offline.behaviour.pretraining import Domain

CHECKPOINT = "checkpoint.safetensors"
RECORD = "record.json"


@dataclass(frozen=True)
class PretrainingStage(Stage[Artifact]):
    """From an encoder and data sets to an encoder; the artifact's folder is the encoder's.

    Attributes:
        sources: the data sets; their training parts are learnt from.
        encoder: start.
        choices: settings.
        log: called with issues of rows.
    """

    sources: Sequence[Source]
    encoder: EncoderChoice
    choices: PretrainingConfig
    log: Log

    name = "encoder"

    @property
    def artifact(self) -> type[Artifact]:
        """A folder that transformers reads."""
        return Artifact

    @property
    def config(self) -> Facts:
        """All choices, and the encoder's name."""
        return self.choices.model_dump() | {"encoder": self.encoder.name}

    @property
    def inputs(self) -> Mapping[str, str]:
        """The data sets by their content, and the encoder's origin."""
        data = {f"data-{n}": source.fingerprint() for n, source in enumerate(self.sources)}
        return data | dict(self.encoder.inputs)

    def run(self, folder: Path) -> Facts:
        """Write the encoder, and the record of the training.

        Raises:
            LongtailError: in one line, why an input or a choice can't be used.
        """
        from offline.behaviour.pretraining import Pretraining
        from offline.behaviour.tuning import plan_tuning
        from offline.cache import cache_folder
        from offline.encoding.sentence_encoder import SentenceEncoder
        from offline.training.trainer import Trainer

        domains = [self._read_domain(source) for source in self.sources]
        encoder = SentenceEncoder(self.encoder.name, cache_folder(), self.choices.device)
        task = Pretraining(encoder, domains, self.choices)
        plan = plan_tuning(self.choices, patience=self.choices.epochs)
        checkpoint = folder / CHECKPOINT
        record = Trainer("pretraining the encoder", task, plan, checkpoint).run()
        encoder.save(folder)
        write_json(folder / RECORD, record.to_dict())
        checkpoint.unlink()
        return {"domains": len(domains), "loss": round(record.epochs[-1].loss or 0.0, 4)}

    def _read_domain(self, source: Source) -> Domain:
        from offline.behaviour.pretraining import Domain
        from offline.data.dataset import read_dataset
        from offline.data.split import leave_one_out
        from offline.item_text import item_texts

        dataset = read_dataset(source.interactions, source.items, source.naming, source.events)
        for line in dataset.issues.lines():
            self.log(f"  {line}")
        texts = item_texts(dataset.attributes, dataset.interactions.item_ids)
        return Domain(texts, leave_one_out(dataset.interactions))
