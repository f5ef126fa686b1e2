"""Predict held-out ratings for a benchmark, by a network or by the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model_store.files import save_array
from offline.artifact import Artifact, Facts
from offline.stages.data import DataArtifact
from offline.stages.rating import RatingArtifact
from offline.stages.ratings import RatingsArtifact
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.rating.baselines import RatingPredictor
    from offline.rating.ratings import RatingSplit

Float32 = npt.NDArray[np.float32]
PARTS = ("validation", "test")


class RatingPredictionsArtifact(Artifact):
    """Predictions of held-out ratings, clipped to the scale of the training ratings."""

    def by_model(self) -> dict[str, dict[str, Float32]]:
        """By model and part, float32 [n] in the order of the part's ratings."""
        return {
            name: {part: self._read(number, part) for part in PARTS}
            for number, name in enumerate(self.facts["models"])
        }

    def _read(self, number: int, part: str) -> Float32:
        found: Float32 = np.load(self.path(file_of(number, part)), allow_pickle=False)
        return found


@dataclass(frozen=True)
class RatingPredictionsStage(Stage[RatingPredictionsArtifact]):
    """The predictions of a network; without one, those of the baselines.

    Attributes:
        data: numbers of users and items.
        ratings: held-out ones are predicted; the baselines learn from the others.
        seed: of the baselines' random numbers.
        rating: the network; None: all baselines, fitted here.
    """

    data: DataArtifact
    ratings: RatingsArtifact
    seed: int
    rating: RatingArtifact | None = None

    name = "rating_predictions"

    @property
    def artifact(self) -> type[RatingPredictionsArtifact]:
        """See `RatingPredictionsArtifact`."""
        return RatingPredictionsArtifact

    @property
    def config(self) -> Facts:
        """The seed, where something is drawn."""
        return {"seed": self.seed if self.rating is None else None}

    def run(self, folder: Path) -> Facts:
        """Write the predictions."""
        split = self.ratings.split()
        scale = float(split.train.values.min()), float(split.train.values.max())
        models = self._models(split)
        for number, model in enumerate(models):
            for part in PARTS:
                predicted = np.clip(model.predict(getattr(split, part)), *scale)
                save_array(folder / file_of(number, part), predicted.astype(np.float32))
        return {"models": [model.name for model in models]}

    def _models(self, split: RatingSplit) -> Sequence[RatingPredictor]:
        from offline.rating.baselines import fit_baselines

        if self.rating is not None:
            return [self.rating.model()]
        return fit_baselines(split, int(self.data.facts["users"]), self.data.n_items, self.seed)


def file_of(number: int, part: str) -> str:
    """The file of a model's predictions of a part."""
    return f"{number}-{part}.npy"
