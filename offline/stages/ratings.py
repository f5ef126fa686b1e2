"""Hold ratings out, and read the items' attributes as fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from offline.artifact import Artifact, Facts
from offline.stages.attributes import AttributesArtifact
from offline.stages.data import DataArtifact
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.rating.fields import ItemFields
    from offline.rating.ratings import RatingSplit

RatingSplitName = Literal["random", "leave_one_out", "global_time"]


class RatingsArtifact(Artifact):
    """Ratings to learn from, to choose by and to measure on; the fields of the items."""

    def split(self) -> RatingSplit:
        """The ratings."""
        from offline.rating.ratings import RatingSplit

        return RatingSplit.load(self.folder)

    def test_files(self) -> tuple[Path, Path, Path]:
        """Users, items and values of the ratings to measure on."""
        users, items, values = (
            self.path(f"test/{name}.npy") for name in ("users", "items", "values")
        )
        return users, items, values

    def fields(self) -> ItemFields:
        """What attributes say of the items."""
        from offline.rating.fields import ItemFields

        return ItemFields.load(self.folder)


@dataclass(frozen=True)
class RatingsStage(Stage[RatingsArtifact]):
    """From interactions to ratings.

    Attributes:
        data: the interactions, with ratings.
        split: how ratings are held out.
        seed: of a random split.
        completed: attributes in place of the catalogue's; None: the catalogue's.
    """

    data: DataArtifact
    split: RatingSplitName
    seed: int
    completed: AttributesArtifact | None = None

    name = "ratings"

    @property
    def artifact(self) -> type[RatingsArtifact]:
        """See `RatingsArtifact`."""
        return RatingsArtifact

    @property
    def config(self) -> Facts:
        """The split; its seed where it draws."""
        return {"split": self.split, "seed": self.seed if self.split == "random" else None}

    def run(self, folder: Path) -> Facts:
        """Write ratings and fields.

        Raises:
            InputError: there are no ratings, all are alike, or none can be held out.
        """
        from offline.rating.fields import ItemFields
        from offline.rating.ratings import split_ratings

        split = split_ratings(self.data.interactions(), self.split, self.seed)
        split.save(folder)
        fields = ItemFields.of((self.completed or self.data).attributes())
        fields.save(folder)
        return {
            "training": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
            "fields": ", ".join(fields.names) or "none",
        }
