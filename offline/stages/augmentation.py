"""Have a language model pick items for sparse users' training sequences (Llama4Rec 4.2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.rerank_prompt import item_titles
from offline.artifact import Facts
from offline.augmentation.config import AugmentationConfig
from offline.stages.added_data import AddedDataArtifact
from offline.stages.data import DataArtifact
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.augmentation.draws import Draws
    from offline.data.insertions import Insertions
    from offline.recommender.recommender import TrainingData


class AugmentationArtifact(AddedDataArtifact):
    """Items to read between those of training sequences; kept apart from what happened."""

    def insertions(self) -> Insertions:
        """The items, by rows of the split's training sequences."""
        from offline.data.insertions import Insertions

        return Insertions.load(self.folder)

    def add_to(self, data: TrainingData) -> TrainingData:
        """See `AddedDataArtifact.add_to`."""
        return replace(data, insertions=self.insertions().not_in(data.sequences))


@dataclass(frozen=True)
class AugmentationStage(Stage[AugmentationArtifact]):
    """From training sequences to inserted items.

    Attributes:
        data: its training part alone is read.
        choices: users, items and language model.
    """

    data: DataArtifact
    choices: AugmentationConfig

    name = "augmentation"

    @property
    def artifact(self) -> type[AugmentationArtifact]:
        """See `AugmentationArtifact`."""
        return AugmentationArtifact

    @property
    def config(self) -> Facts:
        """All of the choices."""
        return self.choices.model_dump()

    @property
    def inputs(self) -> Mapping[str, str]:
        """The data, and local models by their content."""
        return {**super().inputs, **self.choices.fingerprints()}

    def run(self, folder: Path) -> Facts:
        """Write the insertions.

        Raises:
            ConfigError: the language model can't be used.
        """
        from offline.augmentation.sequences import picked_insertions
        from offline.instruction.kept_scores import kept_scores

        asked = draws_of(self.data, self.choices)
        with kept_scores(asked, self.choices, folder) as scores:
            insertions = picked_insertions(asked.draws, scores)
            insertions.save(folder)
        return {"users": len(set(insertions.users.tolist())), "items": len(insertions)}


def draws_of(data: DataArtifact, choices: AugmentationConfig) -> Draws:
    """The draws about which the language model is asked."""
    from offline.augmentation.draws import Draws
    from offline.recommender.recommender import TrainingData

    titles = item_titles(data.attributes(), data.item_ids().ids)
    training = TrainingData.of_split(data.split(), data.n_items)
    return Draws.of_training(training, titles, choices)
