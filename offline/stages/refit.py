"""Train again on all interactions, for as many epochs as proved best."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_store.files import save_array
from offline.artifact import Facts
from offline.stages.added_data import AddedDataArtifact
from offline.stages.data import DataArtifact
from offline.stages.encoding import EncodingArtifact
from offline.stages.recommender import CHECKPOINT, RecommenderArtifact
from offline.stages.stage import Stage
from offline.stages.start import StartArtifact
from offline.training.group import current


@dataclass(frozen=True)
class RefitStage(Stage[RecommenderArtifact]):
    """From a chosen recommender to one that has seen the held-out interactions too.

    Attributes:
        data: all interactions are learnt from.
        encoding: vectors of the items.
        chosen: the recommender to train again.
        added: what a language model added to the training data; None: nothing.
        start: model that the training begins with; None: random weights.
    """

    data: DataArtifact
    encoding: EncodingArtifact
    chosen: RecommenderArtifact
    added: AddedDataArtifact | None = None
    start: StartArtifact | None = None

    name = "refit"
    trains = True

    @property
    def artifact(self) -> type[RecommenderArtifact]:
        """See `RecommenderArtifact`."""
        return RecommenderArtifact

    def run(self, folder: Path) -> Facts:
        """Write the model and the items' popularity."""
        from offline.recommender.recommender import TrainingData

        data = TrainingData.of_everything(self.data.interactions(), self.encoding.vectors())
        if self.added is not None:
            data = self.added.add_to(data)
        if self.start is not None:
            data = self.start.begin(data, self.data.item_ids())
        model = self.chosen.model().refit(data, folder / CHECKPOINT)
        if not current().leads:
            return {}
        model.save(folder)
        save_array(folder / RecommenderArtifact.POPULARITY, data.counts().astype(np.float32))
        shutil.rmtree(folder / CHECKPOINT)
        return {"epochs": model.record.n_trained}
