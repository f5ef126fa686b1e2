"""Make instruction examples of training data (Llama4Rec 4.5.1)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.rerank_prompt import PromptLayout, item_titles
from offline.artifact import Artifact, Facts, write_json
from offline.instruction.config import InstructionConfig
from offline.stages.data import DataArtifact
from offline.stages.encoding import EncodingArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.instruction.examples import Examples

FOLDS = "folds"
"""In the partial folder: checkpoints of the recommenders that were trained on a part of users."""


class InstructionArtifact(Artifact):
    """The examples, and `report.json` with counts and samples."""

    LAYOUT = "layout.json"

    def layout(self) -> PromptLayout:
        """Of the examples' prompts."""
        return PromptLayout.model_validate(self.read_json(self.LAYOUT))

    def examples(self) -> Examples:
        """List-wise and point-wise examples.

        Raises:
            InputError: a file is damaged.
        """
        from offline.instruction.examples import Examples

        return Examples.load(self.folder)


@dataclass(frozen=True)
class InstructionStage(Stage[InstructionArtifact]):
    """From training sequences and a recommender to examples.

    Attributes:
        data: its training part makes the examples.
        encoding: vectors of the items, which the recommender was trained with.
        recommender: those that give the candidates have its settings and epochs.
        choices: layout, folds and limits.
    """

    data: DataArtifact
    encoding: EncodingArtifact
    recommender: RecommenderArtifact
    choices: InstructionConfig

    name = "instruction"

    @property
    def artifact(self) -> type[InstructionArtifact]:
        """See `InstructionArtifact`."""
        return InstructionArtifact

    @property
    def config(self) -> Facts:
        """All of the choices."""
        return self.choices.model_dump()

    def run(self, folder: Path) -> Facts:
        """Write examples and report.

        Raises:
            InputError: there are too few users for the folds.
        """
        from offline.instruction.examples import make_examples, training_ratings
        from offline.recommender.recommender import TrainingData

        split = self.data.split()
        examples = make_examples(
            self.recommender.model(),
            TrainingData.of_split(split, self.data.n_items, self.encoding.vectors()),
            training_ratings(self.data.interactions(), split),
            item_titles(self.data.attributes(), self.data.item_ids().ids),
            self.choices,
            folder / FOLDS,
        )
        examples.save(folder)
        write_json(folder / InstructionArtifact.LAYOUT, self.choices.layout.model_dump())
        shutil.rmtree(folder / FOLDS, ignore_errors=True)
        report = examples.report
        return {"rankings": report.rankings, "ratings": report.ratings}
