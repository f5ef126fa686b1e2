"""Make point-wise examples of training ratings (Llama4Rec 4.5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_store.rerank_prompt import item_titles
from offline.artifact import Facts, write_json
from offline.instruction.rating_config import RatingInstructionConfig
from offline.stages.data import DataArtifact
from offline.stages.instruction import InstructionArtifact
from offline.stages.ratings import RatingsArtifact
from offline.stages.stage import Stage


@dataclass(frozen=True)
class RatingExamplesStage(Stage[InstructionArtifact]):
    """From training ratings to examples.

    Attributes:
        data: titles of the items.
        ratings: its training part alone is read.
        choices: layout and number of examples.
    """

    data: DataArtifact
    ratings: RatingsArtifact
    choices: RatingInstructionConfig

    name = "rating_examples"

    @property
    def artifact(self) -> type[InstructionArtifact]:
        """See `InstructionArtifact`."""
        return InstructionArtifact

    @property
    def config(self) -> Facts:
        """All of the choices but those of tuning."""
        return self.choices.model_dump(exclude={"tuning"})

    def run(self, folder: Path) -> Facts:
        """Write examples and report."""
        from offline.instruction.rated_examples import make_rated_examples

        choices, titles = (
            self.choices,
            item_titles(self.data.attributes(), self.data.item_ids().ids),
        )
        train = self.ratings.split().train
        examples = make_rated_examples(
            train, titles, choices.layout, choices.max_examples, choices.seed
        )
        examples.save(folder)
        write_json(folder / InstructionArtifact.LAYOUT, choices.layout.model_dump())
        return {"ratings": examples.report.ratings}
