"""The rows of a reranking grid for one seed: ranks of all targets, by row and part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from model_store.aggregation import Weighting
from model_store.errors import LongtailError
from offline.artifact import Facts
from offline.benchmark.cells import Folders, log_nothing
from offline.benchmark.first_stage import FirstStage, OfParts, folder_of
from offline.benchmark.grid import DataChoice
from offline.benchmark.rerank_grid import RerankGrid
from offline.cache import cache_folder
from offline.cost import duration
from offline.data.dataset import Dataset
from offline.data.split import Bool, Split, draw_users
from offline.inputs import Source
from offline.instruction.label_scorer import LabelScorer
from offline.instruction.prompt_scores import measure_prompt_s
from offline.instruction.sample_prompts import sample_prompts
from offline.instruction.scorer_choice import open_scorer
from offline.instruction.shortlists import (
    Weigh,
    choose_weighting,
    weigh_all,
    weigh_tail,
    weigh_uniformly,
)
from offline.metrics import Ranks
from offline.recipe import Recipe
from offline.stages.candidates import PARTS
from offline.stages.data import DataArtifact, DataStage
from offline.stages.ranks import RanksStage
from offline.stages.stage import Log, run_stage

BASE = "base"
ALONE = "LLM alone"
UNIFORM = "uniform fusion"
ADAPTIVE = "adaptive aggregation"
TAIL_ALONE = "adaptive aggregation for tail users alone, as `rerank: auto`"
AUGMENTED = "data augmentation, ID model alone"
ALL = "all: data augmentation and adaptive aggregation"
ALL_UNIFORM = "all, but uniform fusion"
TEXT = "control: text-only scorer, adaptive aggregation"
SECOND_UNIFORM = "control: a second recommender, plain averaging"
SECOND = "control: a second recommender, adaptive aggregation"
CONTROLS = (TEXT, SECOND_UNIFORM, SECOND)


@dataclass(frozen=True)
class RerankCell:
    """All rows of one seed.

    Attributes:
        seed: of the base recommender; the second one has the next.
        ranks: by row and part, int64 [C].
        weightings: by row, where one was chosen on validation.
        facts: numbers of cases asked about, by part, and of inserted items and their users, where
            there are rows with augmented data.
    """

    seed: int
    ranks: dict[str, dict[str, Ranks]]
    weightings: dict[str, Weighting]
    facts: Facts


@dataclass(frozen=True)
class RerankRun:
    """A reranking grid at work on one data set.

    Attributes:
        grid: the grid.
        choice: its entry of the data set.
        source: the data set's files.
        root: folder of all stages.
        log: called with lines of progress.
        failures: one line for each seed that could not be run.
    """

    grid: RerankGrid
    choice: DataChoice
    source: Source
    root: Path
    log: Log = print
    failures: list[str] = field(default_factory=list)

    @cached_property
    def data(self) -> DataArtifact:
        """The data set."""
        recipe = self.grid.recipe_of(self.choice, self.grid.seeds[0])
        stage = DataStage(self.source, "leave_one_out", self.log, recipe.data, recipe.events)
        return run_stage(stage, self.root, self.log)

    @cached_property
    def split(self) -> Split:
        """Its training part and held-out cases."""
        return self.data.split()

    @cached_property
    def measured_users(self) -> Bool:
        """The users whose cases are measured, bool [U]."""
        return draw_users(len(self.split.train_offsets) - 1, self.grid.users)

    @cached_property
    def scorer(self) -> LabelScorer:
        """The language model: opened when the first stage needs it, once for all."""
        from offline.instruction.label_graph import CALIBRATION_PROMPTS

        samples = sample_prompts(
            Dataset.load(self.data.folder), self.grid.layout, CALIBRATION_PROMPTS
        )
        return open_scorer(
            self.grid.language_model,
            cache_folder(),
            [sample.text for sample in samples],
            [len(sample.candidates) for sample in samples],
        )

    def baselines(self) -> dict[str, dict[str, Ranks]]:
        """Ranks by popularity and last-item Markov counts, by model and part."""
        return run_stage(RanksStage(self.data, PARTS), self.root, log_nothing).by_model()

    def announce_bound(self) -> None:
        """Log the largest number of forward passes, before anything is trained."""
        n_cases = sum(int(self.measured_users[getattr(self.split, p).users].sum()) for p in PARTS)
        # And once behind the augmented recommender.
        n_prompts = len(self.grid.layouts) + self.grid.has_augmented_rows
        n_seeds = len(self.grid.seeds)
        self.log(
            f"{self.choice.name}: {n_prompts} prompts a case, {n_cases:,} cases, seeds {n_seeds}: "
            f"at most {n_prompts * n_cases * n_seeds:,} forward passes of "
            f"{self.grid.language_model.model}; only cases with the target among the first "
            f"{self.grid.layout.n_candidates} items are asked about"
        )

    def cells(self) -> Iterator[RerankCell]:
        """All rows, seed by seed; a seed that can't be run is added to `failures`."""
        for number, seed in enumerate(self.grid.seeds, start=1):
            name = f"{self.choice.name}: seed {seed}"
            self.log(f"{name} ({number} of {len(self.grid.seeds)})")
            try:
                yield self._cell(seed)
            except LongtailError as error:
                self.failures.append(f"{name}: {error}")
                self.log(f"  failed: {error}")

    def _cell(self, seed: int) -> RerankCell:
        base = self._first_stage("base", seed, self.grid.recipe_of(self.choice, seed))
        self._announce_pace(base)
        rows = _Rows(self._counts)
        rows.keep(BASE, base.ranks)
        for left_out in self.grid.layouts:
            scores = base.llm_scores(left_out)
            if left_out:
                rows.adaptive(f"{ADAPTIVE}, {left_out}", base, scores)
            else:
                rows.weighed(ALONE, base, scores, weigh_all)
                rows.weighed(UNIFORM, base, scores, weigh_uniformly)
                chosen = rows.adaptive(ADAPTIVE, base, scores)
                rows.weighed(TAIL_ALONE, base, scores, weigh_tail(chosen))
        facts: dict[str, Any] = {
            "asked": {part: len(asked.cases) for part, asked in base.asked.items()}
        }
        if self.grid.has_augmented_rows:
            facts["augmentation"] = self._add_augmented(rows, seed).inserted
        self._add_controls(rows, base, seed)
        return RerankCell(seed, rows.ranks, rows.weightings, facts)

    def _add_augmented(self, rows: _Rows, seed: int) -> FirstStage:
        recipe = self.grid.augmented_recipe(self.choice, seed)
        augmented = self._first_stage("augmented", seed, recipe)
        scores = augmented.llm_scores("")
        rows.keep(AUGMENTED, augmented.ranks)
        rows.weighed(ALL_UNIFORM, augmented, scores, weigh_uniformly)
        rows.adaptive(ALL, augmented, scores)
        return augmented

    def _add_controls(self, rows: _Rows, base: FirstStage, seed: int) -> None:
        rows.adaptive(TEXT, base, base.text_scores())
        second = self._first_stage("base", seed + 1, self.grid.recipe_of(self.choice, seed + 1))
        scores = base.scores_by(second.learned.recommender.model().score)
        rows.weighed(SECOND_UNIFORM, base, scores, weigh_uniformly)
        rows.adaptive(SECOND, base, scores)

    def _first_stage(self, name: str, seed: int, recipe: Recipe) -> FirstStage:
        folders = Folders(self.root, name, seed, self.log)
        learned = folders.learn(self.data, recipe, self.source)
        return FirstStage(self.grid, self.data, learned, folders, lambda: self.scorer)

    def _announce_pace(self, base: FirstStage) -> None:
        """Log the number of forward passes for the base, and the time that they will take."""
        pending = [
            stage
            for left_out, layout in self.grid.layouts.items()
            if not (stage := base.stage_of(layout)).is_current(
                base.folders.place(folder_of(left_out))
            )
        ]
        prompts = [stage.prompts(part) for stage in pending for part in PARTS]
        texts = [text for asked in prompts for text in asked.texts]
        if not texts:
            return
        n_labels = [n for asked in prompts for n in asked.n_labels]
        prompt_s = measure_prompt_s(self.scorer, texts, n_labels)
        n_asked = sum(len(asked.cases) for asked in base.asked.values())
        then = ""
        if self.grid.has_augmented_rows:
            of_augmented = duration(n_asked * prompt_s)
            then = f"; then about {of_augmented} for the rows with augmented data"
        self.log(
            f"  {len(texts):,} prompts to ask for the base, {prompt_s:.2g} s each (measured on a "
            f"few): about {duration(len(texts) * prompt_s)}{then}"
        )

    @cached_property
    def _counts(self) -> list[int]:
        """Training interactions of each user who has some."""
        return [int(n) for n in np.diff(self.split.train_offsets) if n]


class _Rows:
    """Collects rows; weightings are chosen on validation.

    Args:
        counts: training interactions of each user.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = counts
        self.ranks: dict[str, dict[str, Ranks]] = {}
        self.weightings: dict[str, Weighting] = {}

    def keep(self, name: str, ranks: dict[str, Ranks]) -> None:
        """A row of ranks as they are."""
        self.ranks[name] = ranks

    def weighed(self, name: str, first: FirstStage, scores: OfParts, weigh: Weigh) -> None:
        """A row in which the first k' items are reordered by scores with a given weight."""
        self.ranks[name] = {
            part: shortlists.reranked(scores[part], weigh)
            for part, shortlists in first.shortlists.items()
        }

    def adaptive(self, name: str, first: FirstStage, scores: OfParts) -> Weighting:
        """A row whose weighting is chosen on validation; the weighting."""
        chosen = choose_weighting(
            first.shortlists["validation"], scores["validation"], self._counts
        )
        self.weightings[name] = chosen
        self.weighed(name, first, scores, chosen.weight)
        return chosen
