"""Have a language model rank pairs of items for sparse users (Llama4Rec 4.2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.rerank_prompt import item_titles
from offline.artifact import Facts
from offline.augmentation.config import PairsConfig
from offline.stages.added_data import AddedDataArtifact
from offline.stages.data import DataArtifact
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.augmentation.pairs import AskedPairs
    from offline.data.preferences import Preferences
    from offline.recommender.recommender import TrainingData


class PairsArtifact(AddedDataArtifact):
    """Ranked pairs for a direct model's loss."""

    def preferences(self) -> Preferences:
        """The pairs, by rows of the split's training sequences."""
        from offline.data.preferences import Preferences

        return Preferences.load(self.folder)

    def add_to(self, data: TrainingData) -> TrainingData:
        """See `AddedDataArtifact.add_to`."""
        return replace(data, preferences=self.preferences().not_in(data.sequences))


@dataclass(frozen=True)
class PairsStage(Stage[PairsArtifact]):
    """From training sequences to ranked pairs.

    Attributes:
        data: its training part alone is read.
        choices: users, pairs and language model.
    """

    data: DataArtifact
    choices: PairsConfig

    name = "pairs"

    @property
    def artifact(self) -> type[PairsArtifact]:
        """See `PairsArtifact`."""
        return PairsArtifact

    @property
    def config(self) -> Facts:
        """All of the choices."""
        return self.choices.model_dump()

    @property
    def inputs(self) -> Mapping[str, str]:
        """The data, and local models by their content."""
        return {**super().inputs, **self.choices.fingerprints()}

    def run(self, folder: Path) -> Facts:
        """Write the pairs; a run that was killed goes on where it stopped.

        Raises:
            ConfigError: the language model can't be used.
        """
        from offline.instruction.kept_scores import kept_scores

        asked = pairs_of(self.data, self.choices)
        with kept_scores(asked, self.choices, folder) as scores:
            preferences = asked.ranked(scores)
            preferences.save(folder)
        return {"users": len(set(preferences.users.tolist())), "pairs": len(preferences)}


def pairs_of(data: DataArtifact, choices: PairsConfig) -> AskedPairs:
    """The pairs about which the language model is asked."""
    from offline.augmentation.pairs import AskedPairs
    from offline.recommender.recommender import TrainingData

    titles = item_titles(data.attributes(), data.item_ids().ids)
    training = TrainingData.of_split(data.split(), data.n_items)
    return AskedPairs.of_training(training, titles, choices)
