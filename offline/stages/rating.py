"""Train a rating network, its epoch chosen on validation."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_store.files import save_array
from offline.artifact import Artifact, Facts
from offline.rating.config import RatingConfig
from offline.stages.data import DataArtifact
from offline.stages.ratings import RatingsArtifact
from offline.stages.stage import Stage
from offline.stages.start import StartArtifact

if TYPE_CHECKING:
    from offline.rating.fields import ItemFields
    from offline.rating.ratings import Ratings
    from offline.rating.recommender import RatingRecommender
    from offline.rating.warm_start import RatingStart

CHECKPOINT = "checkpoint"


class RatingArtifact(Artifact):
    """A fitted rating network."""

    POPULARITY = "popularity.npy"

    def model(self) -> RatingRecommender:
        """The model, ready to predict."""
        from offline.rating.recommender import RatingRecommender

        return RatingRecommender.load(self.folder)


@dataclass(frozen=True)
class RatingStage(Stage[RatingArtifact]):
    """From ratings to a fitted network.

    Attributes:
        data: numbers of users and items.
        ratings: learnt from; the validation part chooses the epoch.
        rating: settings of the network and its training.
        start: an earlier model to begin with; None: random weights.
    """

    data: DataArtifact
    ratings: RatingsArtifact
    rating: RatingConfig
    start: StartArtifact | None = None

    name = "rating"

    @property
    def artifact(self) -> type[RatingArtifact]:
        """See `RatingArtifact`."""
        return RatingArtifact

    @property
    def config(self) -> Facts:
        """All choices of network and training."""
        return self.rating.model_dump(exclude={"max_ranked"})

    def run(self, folder: Path) -> Facts:
        """Write the model and the items' numbers of ratings.

        Raises:
            InputError: the loss diverged.
        """
        from offline.rating.recommender import RatingRecommender

        split, fields = self.ratings.split(), self.ratings.fields()
        model = RatingRecommender(self.rating)
        n_users, start = int(self.data.facts["users"]), begun(self.start, self.data, fields)
        model.fit(split.train, split.validation, fields, n_users, folder / CHECKPOINT, start)
        model.save(folder)
        save_popularity(split.train, self.data.n_items, folder)
        shutil.rmtree(folder / CHECKPOINT)
        return {
            "began_warm": start is not None,
            "best_epoch": model.record.best_epoch,
            "r2": round(model.record.best_figure or 0.0, 4),
            "epochs_s": round(model.record.seconds, 2),
        }


def begun(
    start: StartArtifact | None, data: DataArtifact, fields: ItemFields
) -> RatingStart | None:
    """The weights that a training on the data begins with; None: random ones."""
    if start is None:
        return None
    interactions = data.interactions()
    return start.begin_rating(interactions.user_ids, interactions.item_ids.ids, fields)


def save_popularity(ratings: Ratings, n_items: int, folder: Path) -> None:
    """Write the number of ratings of each item."""
    counts = np.bincount(ratings.items, minlength=n_items + 1).astype(np.float32)
    save_array(folder / RatingArtifact.POPULARITY, counts)
