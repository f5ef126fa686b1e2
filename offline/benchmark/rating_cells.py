"""The cells of a grid of ratings: predictions of held-out ratings, by entry and seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model_store.errors import LongtailError
from offline.artifact import Facts
from offline.benchmark.cells import Folders, log_nothing
from offline.benchmark.grid import DataChoice, Entry
from offline.benchmark.rating_grid import RatingGrid
from offline.inputs import Source
from offline.stages.data import DataArtifact, DataStage
from offline.stages.rating import RatingStage
from offline.stages.rating_predictions import RatingPredictionsStage
from offline.stages.ratings import RatingsArtifact, RatingsStage
from offline.stages.stage import Log, run_stage

if TYPE_CHECKING:
    from offline.rating.ratings import RatingSplit

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RatingCell:
    """One model's predictions.

    Attributes:
        entry: name of the table's line.
        seed: of the split, and of the training.
        predicted: by part, float32 [n] in the order of the part's ratings.
        facts: of the training; none of a baseline.
    """

    entry: str
    seed: int
    predicted: Mapping[str, Float32]
    facts: Facts


@dataclass(frozen=True)
class RatingRun:
    """A grid of ratings at work on one data set.

    Attributes:
        grid: the grid.
        choice: its entry of the data set.
        source: the data set's files.
        root: folder of all stages.
        log: called with lines of progress.
        failures: one line for each cell that could not be trained.
    """

    grid: RatingGrid
    choice: DataChoice
    source: Source
    root: Path
    log: Log = print
    failures: list[str] = field(default_factory=list)

    @cached_property
    def data(self) -> DataArtifact:
        """The data set."""
        choices = self.grid.data_choices_on(self.choice)
        return run_stage(
            DataStage(self.source, "leave_one_out", self.log, choices), self.root, self.log
        )

    def split(self, seed: int) -> RatingSplit:
        """The ratings to learn from and those that are held out."""
        return self._ratings(seed).split()

    def cells(self, only: str | None = None) -> Iterator[RatingCell]:
        """Baselines and entries, seed by seed. A failed cell is added to `failures`.

        Args:
            only: one entry's name.
        """
        for seed in self.grid.seeds:
            if only is None:
                yield from self._baselines(seed)
            for entry in self.grid.entries_on(self.choice.name):
                if only in (None, entry.name):
                    yield from self._trained(entry, seed)

    def _ratings(self, seed: int) -> RatingsArtifact:
        stage = RatingsStage(self.data, self.grid.split, seed)
        return run_stage(stage, self._folders("split", seed).place(), log_nothing)

    def _folders(self, name: str, seed: int) -> Folders:
        return Folders(self.root, name, seed, self.log)

    def _baselines(self, seed: int) -> Iterator[RatingCell]:
        stage = RatingPredictionsStage(self.data, self._ratings(seed), seed)
        made = self._folders("baselines", seed).make(stage)
        for name, predicted in made.by_model().items():
            yield RatingCell(name, seed, predicted, {})

    def _trained(self, entry: Entry, seed: int) -> Iterator[RatingCell]:
        name = f"{self.choice.name}: {entry.name}, seed {seed}"
        self.log(name)
        try:
            recipe = self.grid.recipe_of(self.choice, entry, seed)
            folders = self._folders(entry.slug, seed)
            ratings = self._ratings(seed)
            trained = folders.make(RatingStage(self.data, ratings, recipe.rating))
            made = folders.make(RatingPredictionsStage(self.data, ratings, seed, trained))
        except LongtailError as error:
            self.failures.append(f"{name}: {error}")
            self.log(f"  failed: {error}")
            return
        [predicted] = made.by_model().values()
        facts = {"seconds": trained.facts["epochs_s"], "best_epoch": trained.facts["best_epoch"]}
        yield RatingCell(entry.name, seed, predicted, facts)
