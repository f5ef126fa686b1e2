"""A grid that compares predictions of ratings: recipes of kind rating, and the baselines.

kind = "ratings"
description = "Rating prediction on MovieLens-100K"
[[data]]
name = "movielens-100k"
[[entries]]
name = "DeepFM"
recipe = "deepfm"
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_store.errors import ConfigError
from offline.benchmark.grid import DataChoice, Entry, check_names, recipe_on
from offline.data.config import DataConfig
from offline.instruction.rating_config import RatingInstructionConfig
from offline.recipe import Recipe

KIND = "ratings"
BASELINES = ("global mean", "user mean", "item mean", "item kNN", "biased MF")


class RatingGrid(BaseModel):
    """Every entry is trained on every data set with every seed, which draws the split too.

    Attributes:
        reference: the entry or baseline that the others are compared with.
        split: how ratings are held out.
        entries: recipes of kind rating; their own `against` wins over the reference.
        language_model: predicts ratings too, tuned on each seed's training ratings; None: none.
        users: held-out ratings of so many users, drawn at random, are measured, of all rows; None:
            of all users.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ratings"]
    description: str = Field(min_length=1)
    reference: str = Field(BASELINES[-1], min_length=1)
    split: Literal["random", "leave_one_out", "global_time"] = "random"
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31 - 1)], ...] = Field((0, 1, 2), min_length=1)
    data: tuple[DataChoice, ...] = Field(min_length=1)
    entries: tuple[Entry, ...] = Field(min_length=1)
    language_model: RatingInstructionConfig | None = None
    users: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _names_fit_together(self) -> Self:
        check_names(self.entries, self.data, self.seeds)
        known = {*BASELINES, *(entry.name for entry in self.entries)}
        for other in (self.reference, *(entry.against for entry in self.entries)):
            if other and other not in known:
                raise ValueError(f"{other!r} is neither an entry nor a baseline")
        for entry in self.entries:
            if entry.curve:
                raise ValueError(f"entry {entry.name!r}: ratings have no learning curve")
        return self

    def entries_on(self, data: str) -> tuple[Entry, ...]:
        """The entries that are run on a data set of the grid, in their order."""
        return tuple(entry for entry in self.entries if not entry.data or data in entry.data)

    def against(self, name: str) -> str:
        """The entry or baseline that one is compared with."""
        own = next((entry.against for entry in self.entries if entry.name == name), "")
        return own or self.reference

    def check(self) -> None:
        """Check every recipe before any work.

        Raises:
            ConfigError: there is no such recipe, a change doesn't fit one, one is of another kind,
                or two differ in the interactions that they use.
        """
        for data in self.data:
            chosen = self.data_choices_on(data)
            for entry in self.entries_on(data.name):
                recipe = self.recipe_of(data, entry, self.seeds[0])
                if recipe.kind != "rating":
                    raise ConfigError(
                        f"entry {entry.name!r}: recipe {entry.recipe!r} is of kind {recipe.kind}, "
                        "and a grid of ratings takes recipes of kind rating"
                    )
                if recipe.data != chosen:
                    raise ConfigError(
                        f"entry {entry.name!r} on {data.name}: data: differs from that of the "
                        "entries before it, and all are compared on the same ratings"
                    )

    def data_choices_on(self, data: DataChoice) -> DataConfig:
        """Which interactions of a data set are used, by all entries on it.

        Raises:
            ConfigError: there is no such recipe, or a change doesn't fit it.
        """
        entries = self.entries_on(data.name)
        return self.recipe_of(data, entries[0], self.seeds[0]).data if entries else DataConfig()

    def recipe_of(self, data: DataChoice, entry: Entry, seed: int) -> Recipe:
        """An entry's recipe on a data set.

        Raises:
            ConfigError: there is no such recipe, or a change doesn't fit it.
        """
        return recipe_on(data, entry, seed)
