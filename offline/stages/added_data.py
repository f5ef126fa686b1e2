"""What a language model added to training data, as recommenders' stages read it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from offline.artifact import Artifact

if TYPE_CHECKING:
    from offline.recommender.recommender import TrainingData


class AddedDataArtifact(Artifact):
    """Kept apart from what happened."""

    @abstractmethod
    def add_to(self, data: TrainingData) -> TrainingData:
        """The training data with the additions that are not among its own interactions."""
