"""One cell of a grid: a recipe trained on a data set with a seed, and its ranks.

Cells of a data set share its files and its items' knowledge; each stage is an artifact, so an
interrupted grid continues where it stopped, and a cell is run again only where its code, its recipe
or its data changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model_store.errors import InputError, LongtailError
from offline.artifact import Facts
from offline.benchmark.grid import DataChoice, Entry, Grid
from offline.data.split import Split
from offline.inputs import Source
from offline.knowledge.config import KnowledgeConfig
from offline.learning import Learned, learn
from offline.recipe import Recipe
from offline.stages.data import DataArtifact, DataStage
from offline.stages.ranks import Ranks, RanksStage
from offline.stages.recommender import RecommenderArtifact
from offline.stages.stage import ArtifactT, Log, Stage, run_stage

BASELINES = ("popularity", "markov")


def log_nothing(_: str) -> None:
    """Stages that cells share are not worth a line for each cell."""


@dataclass(frozen=True)
class Cell:
    """The result of a training.

    Attributes:
        entry: name of the table's line.
        seed: None for a baseline, which draws nothing.
        ranks: rank of each case's target, int64 [C], by part.
        facts: of the training: best epoch, validation NDCG@10, seconds of its epochs.
    """

    entry: str
    seed: int | None
    ranks: dict[str, Ranks]
    facts: Facts


@dataclass(frozen=True)
class GridRun:
    """A grid at work on one data set.

    Attributes:
        grid: the grid.
        choice: its entry of the data set.
        source: the data set's files.
        root: folder of all stages.
        log: called with lines of progress.
        failures: one line for each cell that could not be trained.
    """

    grid: Grid
    choice: DataChoice
    source: Source
    root: Path
    log: Log = print
    failures: list[str] = field(default_factory=list)

    def split(self) -> tuple[Split, int]:
        """The split of the interactions, and the number of items N.

        Raises:
            InputError: the files can't be used, or nothing can be held out of them.
        """
        try:
            data = self.read_data(self.log)
        except InputError as error:
            raise InputError(f"data {self.choice.name!r}: {error}") from error
        return data.split(), data.n_items

    def cells(self, only: str | None = None) -> Iterator[Cell]:
        """Baselines, then every entry seed by seed, so that an interrupted run has a complete table
        of fewer seeds. A cell that can't be trained is added to `failures`.

        Args:
            only: one entry's name.
        """
        if only is None:
            yield from self._baselines()
        chosen = [
            (seed, entry)
            for seed in self.grid.seeds
            for entry in self.grid.entries_on(self.choice.name)
            if only in (None, entry.name)
        ]
        for number, (seed, entry) in enumerate(chosen, start=1):
            name = f"{self.choice.name}: {entry.name}, seed {seed}"
            self.log(f"{name} ({number} of {len(chosen)})")
            try:
                yield self._train(entry, seed)
            except LongtailError as error:
                self.failures.append(f"{name}: {error}")
                self.log(f"  failed: {error}")

    def _train(self, entry: Entry, seed: int) -> Cell:
        recipe = self.grid.recipe_of(self.choice, entry, seed)
        data = self.read_data()
        folders = Folders(self.root, entry.slug, seed, self.log)
        trained = self.fit(entry, recipe, data, folders)
        (ranks,) = folders.make(RanksStage(data, self.grid.parts, trained)).by_model().values()
        return Cell(entry.name, seed, ranks, _training_facts(trained))

    def fit(
        self,
        entry: Entry,  # noqa: ARG002 - a recipe says all, but not in a grid of texts
        recipe: Recipe,
        data: DataArtifact,
        folders: Folders,
    ) -> RecommenderArtifact:
        """An entry's recommender, trained if it isn't current."""
        return folders.learn(data, recipe, self.source).recommender

    def describe(self, cells: Sequence[Cell]) -> Facts:  # noqa: ARG002 - as above
        """What a page says of the data set besides the figures of the finished cells."""
        return {}

    def _baselines(self) -> Iterator[Cell]:
        stage = RanksStage(self.read_data(), self.grid.parts)
        for name, ranks in run_stage(stage, self.root, log_nothing).by_model().items():
            yield Cell(name, None, ranks, {})

    def read_data(self, log: Log = log_nothing) -> DataArtifact:
        """The data set."""
        choices = self.grid.data_choices_on(self.choice)
        return run_stage(DataStage(self.source, "leave_one_out", log, *choices), self.root, log)


@dataclass(frozen=True)
class Folders:
    """The folders of one cell's stages, and of those that many cells share.

    Attributes:
        root: of all cells of a data set.
        name: of the cell's recipe, as a folder.
        seed: of its training.
        log: called with lines of progress.
    """

    root: Path
    name: str
    seed: int
    log: Log

    def learn(self, data: DataArtifact, recipe: Recipe, source: Source) -> Learned:
        """The stages up to the recommender, run where they are not current.

        Raises:
            LongtailError: in one line, why an input or a choice can't be used.
        """
        asked = source.adapt(recipe.knowledge)
        shared = shared_folders(recipe, asked)

        def make(stage: Stage[ArtifactT]) -> ArtifactT:
            if stage.name in shared:
                return run_stage(stage, self.root / shared[stage.name], log_nothing)
            return self.make(stage)

        return learn(data, recipe, asked, make)

    def make(self, stage: Stage[ArtifactT], within: str = "") -> ArtifactT:
        """A stage's artifact, in the cell's own folder or in a folder within it."""
        return run_stage(stage, self.place(within), lambda line: self.log(f"  {line}"))

    def place(self, within: str = "") -> Path:
        """The cell's own folder, or one within it."""
        return self.root / self.name / f"seed-{self.seed}" / within


def shared_folders(recipe: Recipe, asked: KnowledgeConfig) -> dict[str, str]:
    """The folder of stages that many cells share: one for each choice of theirs."""
    encoding, tuning = recipe.encoding, recipe.behaviour
    choices = [asked.model_dump(), encoding.model_dump()]
    choices += [tuning.model_dump()] if tuning.stages else []
    texts = f"texts-{_digest(choices)}"
    of_tuning = [asked.model_dump(), tuning.model_dump(), encoding.encoder, encoding.text]
    return {
        "knowledge": texts,
        "encoding": texts,
        "behaviour": f"tuned-{_digest(of_tuning)}",
        "augmentation": f"augmented-{_digest([recipe.augmentation.model_dump()])}",
        "pairs": f"pairs-{_digest([recipe.pairs.model_dump()])}",
    }


def _digest(choices: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]


def _training_facts(trained: RecommenderArtifact) -> Facts:
    names = ("best_epoch", "best_phase", "ndcg_at_10")
    return {"seconds": trained.facts["epochs_s"]} | {name: trained.facts[name] for name in names}
