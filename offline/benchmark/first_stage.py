"""A recommender of a reranking grid, and other scorers' scores of its first k' items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model_store.rerank_prompt import PromptLayout
from offline.benchmark.cells import Folders
from offline.benchmark.rerank_grid import RerankGrid
from offline.data.histories import Histories
from offline.instruction.label_scorer import LabelScorer
from offline.instruction.shortlists import Scores, Shortlists
from offline.learning import Learned
from offline.metrics import Score
from offline.stages.candidates import PARTS, AskedCases, CandidatesArtifact, CandidatesStage
from offline.stages.data import DataArtifact
from offline.stages.llm_scores import LlmScoresStage
from offline.stages.ranks import Ranks, RanksStage

Vectors = npt.NDArray[np.float32]
OfParts = Mapping[str, Scores]
"""Scores of candidates by part, one array a case."""


@dataclass(frozen=True)
class FirstStage:
    """A trained recommender whose first k' items others reorder.

    Attributes:
        grid: layout and language model.
        data: the data set.
        learned: the recommender's artifacts.
        folders: of its stages.
        scorer: gives the language model, when it is needed.
    """

    grid: RerankGrid
    data: DataArtifact
    learned: Learned
    folders: Folders
    scorer: Callable[[], LabelScorer]

    @cached_property
    def ranks(self) -> dict[str, Ranks]:
        """Ranks of all targets by the recommender alone, int64 [C] by part."""
        stage = RanksStage(self.data, PARTS, self.learned.recommender)
        (ranks,) = self.folders.make(stage).by_model().values()
        return ranks

    @cached_property
    def candidates(self) -> CandidatesArtifact:
        """The cases that can change."""
        stage = CandidatesStage(
            self.data, self.learned.recommender, self.grid.layout, self.grid.users
        )
        return self.folders.make(stage)

    @cached_property
    def asked(self) -> dict[str, AskedCases]:
        """The cases that can change, by part."""
        return {part: self.candidates.asked(part) for part in PARTS}

    @cached_property
    def histories(self) -> dict[str, Histories]:
        """Whole histories of the asked cases, by part."""
        split = self.data.split()
        return {
            part: [getattr(split, part).history(case) for case in asked.cases]
            for part, asked in self.asked.items()
        }

    @cached_property
    def shortlists(self) -> dict[str, Shortlists]:
        """The cases as ranks are computed from them, by part."""
        return {
            part: Shortlists(
                self.ranks[part],
                asked.cases,
                asked.positions,
                np.array([len(history) for history in self.histories[part]], np.int64),
            )
            for part, asked in self.asked.items()
        }

    @property
    def inserted(self) -> dict[str, int]:
        """Number of items that training read in addition, and of their users."""
        augmentation = self.learned.added
        facts = augmentation.facts if augmentation else {}
        return {name: int(facts.get(name, 0)) for name in ("items", "users")}

    def stage_of(self, layout: PromptLayout) -> LlmScoresStage:
        """The stage that asks the language model with a layout."""
        grid = self.grid
        return LlmScoresStage(
            self.data, self.candidates, grid.language_model, layout, grid.calibrated, self.scorer
        )

    def llm_scores(self, left_out: str) -> OfParts:
        """The language model's scores, with a part of the prompt left out."""
        stage = self.stage_of(self.grid.layouts[left_out])
        scores = self.folders.make(stage, folder_of(left_out))
        return {part: scores.scores(part) for part in PARTS}

    def text_scores(self) -> OfParts:
        """Cosine of each candidate's text vector and the mean of those of the newest items.

        These are as many as the prompt shows; vectors are the recipe's encoder's, of length 1.
        """
        vectors = self.learned.encoding.vectors()
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return {
            part: [
                vectors[list(question.candidates)] @ vectors[list(question.history)].mean(axis=0)
                for question in asked.questions
            ]
            for part, asked in self.asked.items()
        }

    def scores_by(self, score: Score) -> OfParts:
        """Another recommender's scores."""
        found: dict[str, Scores] = {}
        for part, asked in self.asked.items():
            of_part = []
            for history, question in zip(self.histories[part], asked.questions, strict=True):
                of_part.append(score([history])[0][list(question.candidates)])
            found[part] = of_part
        return found


def folder_of(left_out: str) -> str:
    """The folder of a prompt's scores, by the part that it lacks."""
    return left_out.replace(" ", "-") or "whole-prompt"
