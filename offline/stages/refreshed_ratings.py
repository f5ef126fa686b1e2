"""Hold the newest ratings out, which a running model hasn't seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from offline.artifact import Facts
from offline.stages.attributes import AttributesArtifact
from offline.stages.ratings import RatingsArtifact
from offline.stages.refreshed_data import RefreshedDataArtifact
from offline.stages.stage import Stage


@dataclass(frozen=True)
class RefreshedRatingsStage(Stage[RatingsArtifact]):
    """From old and new interactions to ratings, of which the newest compare two models.

    A part may be empty.

    Attributes:
        data: the interactions, with ratings, and the times from which on new ones are held out.
        completed: attributes in place of the catalogue's; None: the catalogue's.
    """

    data: RefreshedDataArtifact
    completed: AttributesArtifact | None = None

    name = "refreshed_ratings"

    @property
    def artifact(self) -> type[RatingsArtifact]:
        """See `RatingsArtifact`."""
        return RatingsArtifact

    def run(self, folder: Path) -> Facts:
        """Write ratings and fields.

        Raises:
            InputError: there are no ratings, or all are alike.
        """
        from offline.rating.fields import ItemFields
        from offline.rating.ratings import TEST, VALIDATION, ratings_of

        interactions, facts = self.data.interactions(), self.data.facts
        ratings, rated = ratings_of(interactions)
        parts = np.zeros(len(ratings), np.int8)
        times, is_new = interactions.timestamps[rated], self.data.is_new()[rated]
        for part, since in ((VALIDATION, "validation_from"), (TEST, "test_from")):
            if facts[since] is not None:
                parts[is_new & (times >= facts[since])] = part
        split = ratings.split(parts)
        split.save(folder)
        fields = ItemFields.of((self.completed or self.data).attributes())
        fields.save(folder)
        return {
            "training": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
            "fields": ", ".join(fields.names) or "none",
        }
