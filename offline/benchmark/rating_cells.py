"""The cells of a grid of ratings: predictions of held-out ratings, by entry and seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from model_store.errors import LongtailError
from offline.artifact import Facts
from offline.benchmark.cells import Folders, log_nothing
from offline.benchmark.grid import DataChoice, Entry
from offline.benchmark.rating_grid import RatingGrid
from offline.data.split import Bool, draw_users
from offline.inputs import Source
from offline.instruction.rating_aggregation import aggregate_ratings, choose_rating_weighting
from offline.instruction.rating_config import RatingInstructionConfig
from offline.stages.completion import CompletionStage
from offline.stages.data import DataArtifact, DataStage
from offline.stages.llm_ratings import LLM, LlmRatingsStage
from offline.stages.rating import RatingStage
from offline.stages.rating_examples import RatingExamplesStage
from offline.stages.rating_predictions import PARTS, RatingPredictionsStage
from offline.stages.ratings import RatingsArtifact, RatingsStage
from offline.stages.stage import Log, run_stage
from offline.stages.tuning import TuningStage

if TYPE_CHECKING:
    from offline.rating.ratings import RatingSplit

Float32 = npt.NDArray[np.float32]

AGGREGATED = "aggregated with the LLM"
CONTROL = "biased MF"
AGGREGATED_WITH_CONTROL = f"aggregated with {CONTROL}"
"""What a second model without a language model gains: a control."""


@dataclass(frozen=True)
class RatingCell:
    """One model's predictions.

    Attributes:
        entry: name of the table's line.
        seed: of the split, and of the training.
        predicted: by part, float32 [n] in the order of the part's ratings.
        facts: of the training, or of the choices made on validation; none of a baseline.
        against: the entry or baseline that it is compared with; empty: the grid says which.
    """

    entry: str
    seed: int
    predicted: Mapping[str, Float32]
    facts: Facts
    against: str = ""


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

    @cached_property
    def measured_users(self) -> Bool:
        """The users whose held-out ratings are measured, bool [U]."""
        return draw_users(int(self.data.facts["users"]), self.grid.users)

    def split(self, seed: int) -> RatingSplit:
        """The ratings to learn from and those that are held out."""
        return self._ratings(seed).split()

    def cells(self, only: str | None = None) -> Iterator[RatingCell]:
        """Baselines and entries, seed by seed. A failed cell is added to `failures`.

        Args:
            only: one entry's name.
        """
        for seed in self.grid.seeds:
            found = [] if only else [*self._baselines(seed)]
            yield from found
            for entry in self.grid.entries_on(self.choice.name):
                if only in (None, entry.name):
                    for cell in self._trained(entry, seed):
                        found.append(cell)
                        yield cell
            if only is None and self.grid.language_model is not None:
                yield from self._aggregated(found, self.grid.language_model, seed)

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

    def _aggregated(
        self, found: Sequence[RatingCell], choices: RatingInstructionConfig, seed: int
    ) -> Iterator[RatingCell]:
        """The language model alone, then every entry aggregated with it and with the control."""
        name = f"{self.choice.name}: {LLM}, seed {seed}"
        self.log(name)
        try:
            rated = self._ask(choices, seed)
        except LongtailError as error:
            self.failures.append(f"{name}: {error}")
            self.log(f"  failed: {error}")
            return
        control = next(cell for cell in found if cell.entry == CONTROL)
        yield rated
        split = self.split(seed)
        for cell in found:
            if cell.facts:
                yield self._mixed(cell, rated, split, AGGREGATED)
                yield self._mixed(cell, control, split, AGGREGATED_WITH_CONTROL)

    def _ask(self, choices: RatingInstructionConfig, seed: int) -> RatingCell:
        folders, ratings = self._folders("language-model", seed), self._ratings(seed)
        examples = folders.make(RatingExamplesStage(self.data, ratings, choices))
        tuned = folders.make(TuningStage(self.data, examples, choices.tuning))
        stage = LlmRatingsStage(self.data, ratings, tuned, choices, self.grid.users)
        [predicted] = folders.make(stage).by_model().values()
        return RatingCell(LLM, seed, predicted, dict(tuned.facts))

    def _mixed(
        self, base: RatingCell, other: RatingCell, split: RatingSplit, suffix: str
    ) -> RatingCell:
        """Two models' predictions in one; the weights are chosen on validation."""
        n_users = int(self.data.facts["users"])
        counts = np.bincount(split.train.users, minlength=n_users + 1)
        validation = split.validation
        is_measured = self.measured_users[validation.users - 1]
        chosen = choose_rating_weighting(
            base.predicted["validation"][is_measured],
            other.predicted["validation"][is_measured],
            validation.values[is_measured],
            counts[validation.users[is_measured]],
            [int(count) for count in counts if count],
        )
        predicted = {
            part: aggregate_ratings(
                base.predicted[part],
                other.predicted[part],
                counts[getattr(split, part).users],
                chosen,
            )
            for part in PARTS
        }
        facts = {"alpha_1": chosen.alpha_1, "alpha_2": chosen.alpha_2}
        return RatingCell(f"{base.entry}, {suffix}", base.seed, predicted, facts, base.entry)

    def _trained(self, entry: Entry, seed: int) -> Iterator[RatingCell]:
        name = f"{self.choice.name}: {entry.name}, seed {seed}"
        self.log(name)
        try:
            recipe = self.grid.recipe_of(self.choice, entry, seed)
            folders = self._folders(entry.slug, seed)
            ratings, completion_facts = self._ratings(seed), dict[str, Any]()
            if recipe.completes:
                completion = CompletionStage(self.data, recipe.completion)
                completed = run_stage(completion, self.root / entry.slug, self.log)
                ratings = folders.make(RatingsStage(self.data, self.grid.split, seed, completed))
                completion_facts = {"completion": completed.report()}
            trained = folders.make(RatingStage(self.data, ratings, recipe.rating))
            made = folders.make(RatingPredictionsStage(self.data, ratings, seed, trained))
        except LongtailError as error:
            self.failures.append(f"{name}: {error}")
            self.log(f"  failed: {error}")
            return
        [predicted] = made.by_model().values()
        facts = {"seconds": trained.facts["epochs_s"], "best_epoch": trained.facts["best_epoch"]}
        yield RatingCell(entry.name, seed, predicted, facts | completion_facts)
