"""Rank held-out interactions for a benchmark: the target's rank in each case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model_store.files import save_array
from offline.artifact import Artifact, Facts
from offline.progress import Progress
from offline.stages.data import DataArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.data.split import Split
    from offline.recommender.recommender import Baseline

Ranks = npt.NDArray[np.int64]


class RanksArtifact(Artifact):
    """Ranks of the targets, by model and part."""

    def by_model(self) -> dict[str, dict[str, Ranks]]:
        """By model and part, int64 [C] in the order of the cases, 1 = best."""
        return {name: self._of_model(name) for name in self.facts["models"]}

    def _of_model(self, name: str) -> dict[str, Ranks]:
        files = self.path(name).glob("*.npy")
        return {file.stem: np.load(file, allow_pickle=False) for file in files}


@dataclass(frozen=True)
class RanksStage(Stage[RanksArtifact]):
    """The ranks that a recommender gives to the cases; without one, those of the baselines.

    Attributes:
        data: its cases are ranked.
        parts: validation or test or both.
        recommender: the model; None for popularity and last-item Markov counts.
    """

    data: DataArtifact
    parts: tuple[str, ...]
    recommender: RecommenderArtifact | None = None

    name = "ranks"

    @property
    def artifact(self) -> type[RanksArtifact]:
        """See `RanksArtifact`."""
        return RanksArtifact

    @property
    def config(self) -> Facts:
        """The parts."""
        return {"parts": self.parts}

    def run(self, folder: Path) -> Facts:
        """Write the ranks.

        Raises:
            InputError: a score is NaN.
        """
        split = self.data.split()
        models = self._models(split)
        for model in models:
            _save_ranks(model, split, self.parts, folder / model.name)
        return {"models": [model.name for model in models]}

    def _models(self, split: Split) -> Sequence[Baseline]:
        from offline.recommender.baselines import Markov, Popularity
        from offline.recommender.recommender import TrainingData

        if self.recommender is not None:
            return [self.recommender.model()]
        training = TrainingData.of_split(split, self.data.n_items)
        return [Popularity().fit(training), Markov().fit(training)]


def _save_ranks(model: Baseline, split: Split, parts: tuple[str, ...], folder: Path) -> None:
    from offline.metrics import rank_cases

    cases = {part: getattr(split, part) for part in parts}
    with Progress("ranking cases", sum(map(len, cases.values())), "case") as progress:
        for part, some in cases.items():
            ranks = rank_cases(model.score, some, k=0, ranked=progress.advance).ranks
            save_array(folder / f"{part}.npy", ranks)
