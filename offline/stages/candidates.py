"""Find the cases that a reranker can change, and what it is asked about them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from model_store.files import save_array
from model_store.rerank_prompt import PromptLayout
from offline.artifact import Artifact, Facts, write_json
from offline.engine.work import Compute, Device
from offline.stages.data import DataArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.stage import EngineStage

if TYPE_CHECKING:
    import polars as pl

    from offline.data.histories import Histories
    from offline.data.split import Cases, Split
    from offline.instruction.questions import Question, Questioner
    from offline.recommender.recommender import Recommender

PARTS = ("validation", "test")
# Histories that are scored together, and cases of a part of the work, a multiple of that: a case is
# computed next to the same others however the work is divided.
_BATCH, _CASES = 256, 2_048
_PARTS = "parts"
_PART, _CASE, _POSITION = "part", "case", "position"
_QUESTION = ("user", "history", "candidates", "similar")


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
class CandidatesStage(EngineStage[CandidatesArtifact]):
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
        """Write the questions of both parts; what a killed run found is used again.

        Raises:
            EngineError: a process was lost.
        """
        import polars as pl

        parts = folder / _PARTS
        users = self._save_vectors(parts) if self.layout.n_similar else None
        found = self._ask(AskCases(self.data, self.recommender, self.layout, users), parts)
        facts = {}
        for part in PARTS:
            of_part = found.filter(pl.col(_PART) == part)
            document = {
                "cases": of_part[_CASE].to_list(),
                "positions": of_part[_POSITION].to_list(),
                "questions": of_part.select(_QUESTION).to_dicts(),
            }
            write_json(folder / f"{part}.json", document)
            facts[part] = len(of_part)
        shutil.rmtree(parts, ignore_errors=True)
        return facts

    def _ask(self, work: AskCases, parts: Path) -> pl.DataFrame:
        """The cases of all parts that were found, in their order."""
        import polars as pl

        from offline.data.split import draw_users
        from offline.engine.parts import run_missing

        is_drawn = draw_users(self.data.interactions().n_users, self.n_users)
        split = self.data.split()
        drawn = {part: np.flatnonzero(is_drawn[getattr(split, part).users]) for part in PARTS}
        tally = run_missing(
            self.engine,
            work,
            _batches(drawn, parts),
            parts / "sources",
            n_rows=sum(map(len, drawn.values())),
            label="finding candidates",
            unit="cases",
        )
        frames = [pl.read_parquet(target) for target in tally.targets]
        return pl.concat([pl.DataFrame(schema=_schema()), *frames])

    def _save_vectors(self, parts: Path) -> Path:
        """Write the vectors of all users who train, by whom similar ones are found."""
        from offline.engine.rows import Rows
        from offline.user_vectors import user_vectors

        sequences = _sequences(self.data)
        known = [user for user, items in enumerate(sequences) if len(items)]
        recommender = self.recommender
        of_known = user_vectors(
            recommender.folder,
            recommender.fingerprint,
            Rows.of([sequences[user] for user in known]),
            self.engine,
            parts / "users",
        )
        vectors = np.zeros((len(sequences), of_known.shape[1]), dtype=np.float32)
        vectors[known] = of_known
        path = parts / "users.npy"
        save_array(path, vectors)
        return path.resolve()


@dataclass(frozen=True)
class AskCases:
    """The `Work` of finding cases that reranking can change, and of asking about them.

    Attributes:
        data, recommender, layout: of the stage.
        users: file of all users' vectors; None: nobody's similar user is asked for.
    """

    data: DataArtifact
    recommender: RecommenderArtifact
    layout: PromptLayout
    users: Path | None

    device: ClassVar[Device] = "cpu"

    def open(self) -> Compute:
        """Load the recommender and the users.

        Raises:
            InputError: a file is damaged.
        """
        from offline.instruction.questions import Questioner

        vectors = None if self.users is None else np.load(self.users, allow_pickle=False)
        model, split = self.recommender.model(), self.data.split()
        questioner = Questioner(model, _sequences(self.data), self.layout, vectors)
        return partial(_ask_cases, split, model, questioner, self.layout.n_candidates)


def _ask_cases(
    split: Split, model: Recommender, questioner: Questioner, k: int, batch: pl.DataFrame
) -> pl.DataFrame:
    import polars as pl

    cases: Cases = getattr(split, batch[_PART][0])
    found = _cases_within(model, cases, batch[_CASE].to_list(), k)
    questions = questioner.ask(cases.users[found], [cases.history(case) for case in found])
    rows = [
        {
            _PART: batch[_PART][0],
            _CASE: case,
            _POSITION: question.candidates.index(int(cases.targets[case])),
            **{name: getattr(question, name) for name in _QUESTION},
        }
        for case, question in zip(found, questions, strict=True)
    ]
    return pl.DataFrame(rows, schema=_schema())


def _schema() -> pl.Schema:
    """Of the cases that were found."""
    import polars as pl

    return pl.Schema(
        {
            _PART: pl.String(),
            **dict.fromkeys((_CASE, _POSITION, "user"), pl.Int64()),
            **dict.fromkeys(("history", "candidates", "similar"), pl.List(pl.Int64)),
        }
    )


def _cases_within(model: Recommender, cases: Cases, drawn: Sequence[int], k: int) -> list[int]:
    """Numbers of those of the drawn cases whose target is among the first k unseen items."""
    from offline.recommender.recommender import rank_unseen

    found = []
    for start in range(0, len(drawn), _BATCH):
        batch = drawn[start : start + _BATCH]
        best, _ = rank_unseen(model.score, [cases.history(case) for case in batch], k)
        within = (best == cases.targets[batch, None]).any(axis=1)
        found += [case for case, is_within in zip(batch, within, strict=True) if is_within]
    return found


def _sequences(data: DataArtifact) -> Histories:
    """Training items of all users."""
    from offline.recommender.recommender import TrainingData

    return TrainingData.of_split(data.split(), data.n_items).sequences


@dataclass(frozen=True)
class _Drawn:
    """A `Batch` of cases."""

    target: Path
    frame: pl.DataFrame


def _batches(drawn: Mapping[str, npt.NDArray[np.int64]], parts: Path) -> Iterator[_Drawn]:
    import polars as pl

    for part, cases in drawn.items():
        for start in range(0, len(cases), _CASES):
            some = pl.DataFrame({_CASE: cases[start : start + _CASES]})
            target = parts / f"{part}-{start:09}.parquet"
            yield _Drawn(target, some.with_columns(pl.lit(part).alias(_PART)))
