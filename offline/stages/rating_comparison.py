"""Predict the newest ratings, which neither has seen, by a new model and by the running one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.bundle import Bundle
from model_store.files import save_array
from offline.artifact import Artifact, Facts
from offline.fingerprint import fingerprint_of
from offline.stages.rating import RatingArtifact
from offline.stages.ratings import RatingsArtifact
from offline.stages.refreshed_data import RefreshedDataArtifact
from offline.stages.stage import Stage


@dataclass(frozen=True)
class RatingPairs:
    """The errors of C ratings by both models.

    Attributes:
        users: of each rating, int32 [C].
        candidate: squared error of each prediction by the new model, float64 [C].
        running: by the running one.
        is_known: whether the running one has the item, bool [C].
    """

    users: npt.NDArray[np.int32]
    candidate: npt.NDArray[np.float64]
    running: npt.NDArray[np.float64]
    is_known: npt.NDArray[np.bool_]

    def known(self) -> RatingPairs:
        """Those alone whose item both models have."""
        return RatingPairs(*(getattr(self, field.name)[self.is_known] for field in fields(self)))


class RatingComparisonArtifact(Artifact):
    """The errors of the newest ratings."""

    def pairs(self) -> RatingPairs:
        """Those of all that are compared."""
        names = (field.name for field in fields(RatingPairs))
        return RatingPairs(
            *(np.load(self.path(f"{name}.npy"), allow_pickle=False) for name in names)
        )


@dataclass(frozen=True)
class RatingComparisonStage(Stage[RatingComparisonArtifact]):
    """From two models to their errors on the same ratings.

    Ratings by people of whom the new model's training part has none are left out: only means could
    be told of them by either.

    Attributes:
        data: ids of users and items.
        ratings: the test part is predicted.
        rating: the new model, which was fitted to the training part.
        running: bundle of the version that answers.
    """

    data: RefreshedDataArtifact
    ratings: RatingsArtifact
    rating: RatingArtifact
    running: Bundle

    name = "rating_comparison"

    @property
    def artifact(self) -> type[RatingComparisonArtifact]:
        """See `RatingComparisonArtifact`."""
        return RatingComparisonArtifact

    @property
    def inputs(self) -> Mapping[str, str]:
        """The artifacts, and the running bundle by its own parts."""
        return {
            **super().inputs,
            "running": fingerprint_of(sorted(self.running.manifest.inputs.items())),
        }

    def run(self, folder: Path) -> Facts:
        """Write the errors."""
        from offline.evaluate.bundle_ratings import BundleRatings

        split, interactions = self.ratings.split(), self.data.interactions()
        compared = split.test.chosen(np.isin(split.test.users, split.train.users))
        running = BundleRatings(self.running, interactions.user_ids, interactions.item_ids)
        predicted = {
            "candidate": self.rating.model().predict(compared),
            "running": running.predict(compared, split.train),
        }
        errors = {
            name: (found.astype(np.float64) - compared.values) ** 2
            for name, found in predicted.items()
        }
        is_known = running.are_known(compared.items)
        pairs = RatingPairs(compared.users, errors["candidate"], errors["running"], is_known)
        for field in fields(pairs):
            save_array(folder / f"{field.name}.npy", getattr(pairs, field.name))
        return {
            "ratings": len(compared),
            "unknown_targets": int((~is_known).sum()),
            **{
                f"{name}_rmse": round(float(np.sqrt(found.mean())), 4) if len(found) else None
                for name, found in errors.items()
            },
        }
