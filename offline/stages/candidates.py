"""Find the cases that a reranker can change, and what it is asked about them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model_store.rerank_prompt import PromptLayout
from offline.artifact import Artifact, Facts, write_json
from offline.progress import Progress
from offline.stages.data import DataArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.data.split import Cases
    from offline.instruction.questions import Question
    from offline.recommender.recommender import Recommender

PARTS = ("validation", "test")
_BATCH = 256


@dataclass(frozen=True)
class AskedCases:
    """Cases whose target is among the recommender's first k' unseen items.

    Attributes:
        cases: their numbers in the part, int64 [A].
        questions: one a case; candidates are the first k' unseen items in the recommender's order.
        positions: of each target among its candidates, int64 [A].
    """

    cases: npt.NDArray[np.int64]
    questions: list[Question]
    positions: npt.NDArray[np.int64]


class CandidatesArtifact(Artifact):
    """Cases that reranking can change, by part."""

    def asked(self, part: str) -> AskedCases:
        """Those of `validation` or `test`."""
        from offline.instruction.questions import Question

        document = self.read_json(f"{part}.json")
        questions = [
            Question(
                row["user"], *(tuple(row[name]) for name in ("history", "candidates", "similar"))
            )
            for row in document["questions"]
        ]
        cases, positions = (np.array(document[name], np.int64) for name in ("cases", "positions"))
        return AskedCases(cases, questions, positions)


@dataclass(frozen=True)
class CandidatesStage(Stage[CandidatesArtifact]):
    """From a recommender's first k' unseen items to questions.

    Where the target is not among them no order of them changes its rank, so nothing is asked. The
    list is the recommender's alone: the target is never added to it.

    Attributes:
        data: its held-out cases; similar users' histories are those of the training part.
        recommender: gives candidates and user vectors.
        layout: numbers of items.
        n_users: cases of so many users, drawn at random; None: of all.
    """

    data: DataArtifact
    recommender: RecommenderArtifact
    layout: PromptLayout
    n_users: int | None = None

    name = "candidates"

    @property
    def artifact(self) -> type[CandidatesArtifact]:
        """See `CandidatesArtifact`."""
        return CandidatesArtifact

    @property
    def config(self) -> Facts:
        """Numbers of items and users; wording is no part of a question."""
        numbers = ("n_candidates", "n_history", "n_similar")
        return {name: getattr(self.layout, name) for name in numbers} | {"n_users": self.n_users}

    def run(self, folder: Path) -> Facts:
        """Write the questions of both parts."""
        from offline.data.split import draw_users
        from offline.instruction.questions import Questioner
        from offline.recommender.recommender import TrainingData

        split, model = self.data.split(), self.recommender.model()
        sequences = TrainingData.of_split(split, self.data.n_items).sequences
        questioner = Questioner(model, sequences, self.layout)
        is_drawn = draw_users(len(sequences), self.n_users)
        facts = {}
        for part in PARTS:
            cases: Cases = getattr(split, part)
            drawn = np.flatnonzero(is_drawn[cases.users])
            found = _cases_within(model, cases, drawn, self.layout.n_candidates)
            questions = questioner.ask(cases.users[found], [cases.history(case) for case in found])
            document = {
                "cases": found,
                "positions": [
                    question.candidates.index(int(cases.targets[case]))
                    for case, question in zip(found, questions, strict=True)
                ],
                "questions": [asdict(question) for question in questions],
            }
            write_json(folder / f"{part}.json", document)
            facts[part] = len(found)
        return facts


def _cases_within(
    model: Recommender, cases: Cases, drawn: npt.NDArray[np.int64], k: int
) -> list[int]:
    """Numbers of those of the drawn cases whose target is among the first k unseen items."""
    from offline.recommender.recommender import rank_unseen

    found = []
    with Progress("finding candidates", len(drawn), "case") as progress:
        for start in range(0, len(drawn), _BATCH):
            batch = drawn[start : start + _BATCH].tolist()
            best, _ = rank_unseen(model.score, [cases.history(case) for case in batch], k)
            within = (best == cases.targets[batch, None]).any(axis=1)
            found += [case for case, is_within in zip(batch, within, strict=True) if is_within]
            progress.advance(len(batch))
    return found
