"""Train the recommender, its epoch chosen on validation (SeRALM 4.3)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_store.files import save_array
from offline.artifact import Artifact, Facts
from offline.direct.config import DirectConfig, FactorConfig
from offline.recommender.config import RecommenderConfig, TrainingConfig
from offline.stages.added_data import AddedDataArtifact
from offline.stages.data import DataArtifact
from offline.stages.encoding import EncodingArtifact
from offline.stages.stage import Stage
from offline.stages.start import StartArtifact
from offline.training.group import current

if TYPE_CHECKING:
    from offline.recommender.recommender import Recommender

CHECKPOINT = "checkpoint"


class RecommenderArtifact(Artifact):
    """A fitted recommender."""

    POPULARITY = "popularity.npy"

    @property
    def kind(self) -> str:
        """Of bundle that it is exported to."""
        return str(self.read_json("config.json")["kind"])

    def model(self) -> Recommender:
        """The recommender, ready to score."""
        from offline.models import load_recommender

        return load_recommender(self.folder)


@dataclass(frozen=True)
class RecommenderStage(Stage[RecommenderArtifact]):
    """From interactions and knowledge vectors to a fitted recommender.

    Attributes:
        data: its training part is learnt from, its validation part chooses the epoch.
        encoding: vectors of the items.
        recommender: settings of the model; those of a direct one are of its training, too.
        training: settings of a sequence network's training.
        added: what a language model added to the training data; None: nothing.
        start: model that the training begins with; None: random weights.
    """

    data: DataArtifact
    encoding: EncodingArtifact
    recommender: RecommenderConfig | DirectConfig
    training: TrainingConfig
    added: AddedDataArtifact | None = None
    start: StartArtifact | None = None

    name = "recommender"
    trains = True

    @property
    def artifact(self) -> type[RecommenderArtifact]:
        """See `RecommenderArtifact`."""
        return RecommenderArtifact

    @property
    def config(self) -> Facts:
        """All choices of model and training."""
        if isinstance(self.recommender, FactorConfig):
            return {"direct": self.recommender.model_dump()}
        return {
            "recommender": self.recommender.model_dump(),
            "training": self.training.model_dump(),
        }

    def run(self, folder: Path) -> Facts:
        """Write the model and the items' popularity.

        Raises:
            InputError: there is nothing to learn from, or the loss diverged.
            ConfigError: the device isn't available, or the network can't be trained so.
        """
        from offline.models import new_recommender
        from offline.recommender.recommender import TrainingData

        data = TrainingData.of_split(self.data.split(), self.data.n_items, self.encoding.vectors())
        if self.added is not None:
            data = self.added.add_to(data)
        if self.start is not None:
            data = self.start.begin(data, self.data.item_ids())
        model = new_recommender(self.recommender, self.training).fit(data, folder / CHECKPOINT)
        if not current().leads:
            return {}
        model.save(folder)
        save_array(folder / RecommenderArtifact.POPULARITY, data.counts().astype(np.float32))
        shutil.rmtree(folder / CHECKPOINT)
        record = model.record
        return {
            "best_epoch": record.best_epoch,
            "best_phase": record.best_phase,
            "ndcg_at_10": round(record.best_figure or 0.0, 4),
            "epochs_s": round(record.seconds, 2),
        }
