"""Train a rating network again on all ratings, for as many epochs as proved best."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from offline.artifact import Facts
from offline.stages.data import DataArtifact
from offline.stages.rating import CHECKPOINT, RatingArtifact, begun, save_popularity
from offline.stages.ratings import RatingsArtifact
from offline.stages.stage import Stage
from offline.stages.start import StartArtifact


@dataclass(frozen=True)
class RatingRefitStage(Stage[RatingArtifact]):
    """From a chosen network to one that has seen the held-out ratings too.

    Attributes:
        data: numbers of users and items.
        ratings: all are learnt from.
        chosen: the model to train again, for as many epochs as proved best.
        start: an earlier model to begin with, as the chosen one did; None: random weights.
    """

    data: DataArtifact
    ratings: RatingsArtifact
    chosen: RatingArtifact
    start: StartArtifact | None = None

    name = "rating_refit"

    @property
    def artifact(self) -> type[RatingArtifact]:
        """See `RatingArtifact`."""
        return RatingArtifact

    def run(self, folder: Path) -> Facts:
        """Write the model and the items' numbers of ratings."""
        split, fields = self.ratings.split(), self.ratings.fields()
        ratings = split.train.with_all(split.validation).with_all(split.test)
        n_users, start = int(self.data.facts["users"]), begun(self.start, self.data, fields)
        model = self.chosen.model().refit(ratings, fields, n_users, folder / CHECKPOINT, start)
        model.save(folder)
        save_popularity(ratings, self.data.n_items, folder)
        shutil.rmtree(folder / CHECKPOINT)
        return {"epochs": model.record.n_trained}
