"""One cell of a grid: a recipe trained on a data set with a seed, and the ranks it gives.

Cells of a data set share what is read and what is known of its items; each stage is an artifact,
so a grid that was stopped goes on where it was, and a cell is only run again where its code, its
recipe or its data changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.errors import InputError, LongtailError
from model_store.files import save_array
from offline.artifact import Artifact, Facts, Stage
from offline.benchmark.grid import DataChoice, Entry, Grid
from offline.build import TRAINING_SOURCES, Build, Log
from offline.data.split import Cases, Split
from offline.inputs import Source
from offline.progress import Progress
from offline.recommender.recommender import Recommender, TrainingData
from offline.stage_files import read_catalogue

BASELINES = ("popularity", "markov")
SOURCES = (*TRAINING_SOURCES, "benchmark/cells.py")

Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cell:
    """What a training came to.

    Attributes:
        entry: name of the table's line.
        seed: None for a baseline that has nothing to draw.
        ranks: of each case's target, int64 [C], by part.
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
        grid: what is run.
        choice: the data set's part of it.
        source: where its files are.
        root: folder of all its stages.
        say: told what is going on, a line at a time.
        failures: what became of cells that could not be trained, a line each.
    """

    grid: Grid
    choice: DataChoice
    source: Source
    root: Path
    log: Log = print
    failures: list[str] = field(default_factory=list)

    def split(self) -> tuple[Split, int]:
        """How interactions are held out, and the number of items N.

        Raises:
            InputError: the files can't be used, or of them nothing can be held out.
        """
        try:
            data = replace(self._any_build(), log=self.log).read_data()
        except InputError as error:
            raise InputError(f"data {self.choice.name!r}: {error}") from error
        return Split.load(data.path("split")), len(read_catalogue(data)[0])

    def cells(self, only: str | None = None) -> Iterator[Cell]:
        """Baselines, then every entry with every seed: seed by seed, so that what is cut short is
        a whole table of fewer seeds. One that can't be trained is among `failures`.

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

    def _build(self, entry: Entry, seed: int, root: Path) -> Build:
        recipe = self.grid.recipe_of(self.choice, entry, seed)
        return Build(self.source, recipe, root, log=lambda _: None)

    def _any_build(self) -> Build:
        """A build for what all entries have in common."""
        return self._build(self.grid.entries_on(self.choice.name)[0], 0, self.root)

    def _train(self, entry: Entry, seed: int) -> Cell:
        shared = self._build(entry, seed, self.root)
        data = shared.read_data()
        build = replace(shared, root=self.root / _texts_folder(shared))
        knowledge = build.generate_knowledge(data)
        tuning = replace(shared, root=self.root / _tuning_folder(shared))
        vectors = build.encode_items(knowledge, tuning.tune_encoder(data, knowledge))
        place = self.root / entry.slug / f"seed-{seed}"
        build = replace(shared, root=place, log=lambda line: self.log(f"  {line}"))
        trained = build.train(data, vectors)
        inputs = {"data": data.fingerprint, "recommender": trained.fingerprint}
        ranked = build.run_stage(
            Stage("ranks", SOURCES, {"parts": self.grid.parts}, inputs),
            lambda folder: _rank_network(data, trained, self.grid.parts, folder),
        )
        return Cell(entry.name, seed, self._read_ranks(ranked.folder), _training_facts(trained))

    def _baselines(self) -> Iterator[Cell]:
        build = self._any_build()
        data = build.read_data()
        inputs = {"data": data.fingerprint}
        ranked = build.run_stage(
            Stage("baselines", SOURCES, {"parts": self.grid.parts}, inputs),
            lambda folder: _rank_baselines(data, self.grid.parts, folder),
        )
        for name in BASELINES:
            yield Cell(name, None, self._read_ranks(ranked.path(name)), {})

    def _read_ranks(self, folder: Path) -> dict[str, Ranks]:
        return {
            part: np.load(folder / f"{part}.npy", allow_pickle=False) for part in self.grid.parts
        }


def _texts_folder(build: Build) -> str:
    """A folder for what is known of the items: one for each way to know it."""
    recipe = build.recipe
    choices = [build.knowledge_config.model_dump(), recipe.encoding.model_dump()]
    if recipe.behaviour.stages:
        choices.append(recipe.behaviour.model_dump())
    return f"texts-{_digest(choices)}"


def _tuning_folder(build: Build) -> str:
    """A folder for an encoder: one for each way to tune it, whatever else is chosen."""
    recipe = build.recipe
    choices = [build.knowledge_config.model_dump(), recipe.behaviour.model_dump()]
    return f"tuned-{_digest([*choices, recipe.encoding.encoder, recipe.encoding.text])}"


def _digest(choices: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]


def _rank_network(data: Artifact, trained: Artifact, parts: Sequence[str], folder: Path) -> Facts:
    from offline.recommender.sequential import SequenceRecommender

    split = Split.load(data.path("split"))
    _save_ranks(SequenceRecommender.load(trained.folder), split, parts, folder)
    return {}


def _rank_baselines(data: Artifact, parts: Sequence[str], folder: Path) -> Facts:
    from offline.recommender.baselines import Markov, Popularity

    split = Split.load(data.path("split"))
    training = TrainingData.of_split(split, len(read_catalogue(data)[0]))
    for name, model in (("popularity", Popularity()), ("markov", Markov())):
        _save_ranks(model.fit(training), split, parts, folder / name)
    return {}


def _save_ranks(model: Recommender, split: Split, parts: Sequence[str], folder: Path) -> None:
    from offline.metrics import rank_cases

    cases: dict[str, Cases] = {part: getattr(split, part) for part in parts}
    with Progress("ranking cases", sum(map(len, cases.values())), "case") as progress:
        for part, some in cases.items():
            ranks = rank_cases(model.score, some, k=0, ranked=progress.advance).ranks
            save_array(folder / f"{part}.npy", ranks)


def _training_facts(trained: Artifact) -> Facts:
    names = ("best_epoch", "best_phase", "ndcg_at_10")
    return {"seconds": trained.facts["epochs_s"]} | {name: trained.facts[name] for name in names}
