"""Instruction examples from training data (Llama4Rec 4.5.1, figure 2).

An example asks about a position of a training sequence: the items before it are the history, the
item there is the target. Candidates are those of a recommender that was not trained on the user,
and an example is used only where the target is among them: it is never added, and it stands at
the place that the recommender gives it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.errors import InputError
from model_store.files import write_atomically
from model_store.rerank_prompt import LABELS, PromptLayout
from offline.data.interactions import Interactions
from offline.data.split import MIN_INTERACTIONS, Split
from offline.instruction.config import InstructionConfig
from offline.instruction.example_report import N_SAMPLES, ExampleReport, count
from offline.instruction.folds import fold_of_users, train_without
from offline.instruction.questions import Question, Questioner
from offline.instruction.rating_scale import RatingScale
from offline.progress import Progress
from offline.recommender.recommender import Recommender, TrainingData

RANKINGS, RATED, REPORT = "rankings.jsonl", "ratings.jsonl", "report.json"
# A target has two items or more before it: the user has MIN_INTERACTIONS by then.
_MIN_HISTORY = MIN_INTERACTIONS - 1


@dataclass(frozen=True)
class Ranking:
    """A list-wise example: the position of the target among the question's candidates."""

    question: Question
    target: int


@dataclass(frozen=True)
class Rating:
    """A point-wise example: the rating, 1 to 5, of the question's one candidate."""

    question: Question
    rating: int


@dataclass(frozen=True)
class Examples:
    """Examples of both kinds, tail users' first."""

    rankings: list[Ranking]
    ratings: list[Rating]
    report: ExampleReport

    def save(self, folder: Path) -> None:
        """Write as JSON lines, and the report as JSON."""
        _write_lines(folder / RANKINGS, self.rankings)
        _write_lines(folder / RATED, self.ratings)
        report = json.dumps(self.report.to_dict(), ensure_ascii=False, indent=1)
        write_atomically(folder / REPORT, report.encode())

    @classmethod
    def load(cls, folder: Path) -> Examples:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        try:
            return cls(
                [Ranking(_question(row), int(row["target"])) for row in _lines(folder / RANKINGS)],
                [Rating(_question(row), int(row["rating"])) for row in _lines(folder / RATED)],
                ExampleReport(**json.loads((folder / REPORT).read_bytes())),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder}: not readable examples ({error})") from error


def make_examples(
    base: Recommender,
    data: TrainingData,
    ratings: Sequence[npt.NDArray[np.float32]] | None,
    titles: Sequence[str],
    config: InstructionConfig,
    folder: Path | None = None,
) -> Examples:
    """Examples of training sequences, those of users with the fewest interactions first.

    Args:
        base: a recommender that was fitted to `data`.
        data: training sequences, without anything held out.
        ratings: of the sequences' items; None: no point-wise examples.
        titles: of all items, row i that of item_index i + 1.
        config: limits, folds and layout.
        folder: gets checkpoints of the folds' trainings, to resume from.

    Raises:
        InputError: there are too few users for the folds.
    """
    if len(data.sequences) < config.folds:
        raise InputError(f"{len(data.sequences)} users make no {config.folds} folds")
    fold = fold_of_users(len(data.sequences), config.folds, config.seed)
    questioners = [
        Questioner(model, data.sequences, config.layout)
        for model in train_without(base, data, fold, folder)
    ]
    making = _Making(data, ratings, titles, config)
    for user in making.users_in_order():
        if making.is_full:
            making.report.users_beyond_limits += 1
            continue
        making.ask_about(user, questioners[fold[user]])
    return making.finish()


def training_ratings(
    interactions: Interactions, split: Split
) -> list[npt.NDArray[np.float32]] | None:
    """Ratings of each user's training items, as whole numbers 1 to 5; None where there are none."""
    if interactions.ratings is None:
        return None
    whole = RatingScale.of(interactions.ratings).steps_of(interactions.ratings)
    lengths = np.diff(split.train_offsets)
    starts = interactions.offsets[:-1]
    return [whole[start : start + length] for start, length in zip(starts, lengths, strict=True)]


class _Making:
    """Collects examples and counts what is left out."""

    def __init__(
        self,
        data: TrainingData,
        ratings: Sequence[npt.NDArray[np.float32]] | None,
        titles: Sequence[str],
        config: InstructionConfig,
    ) -> None:
        self._sequences, self._ratings = data.sequences, ratings
        self._titles, self._config = titles, config
        self._shown = [config.layout.clean(title) for title in titles]
        self._rankings: dict[tuple[object, ...], Ranking] = {}
        self._rated: dict[tuple[object, ...], Rating] = {}
        self.report = ExampleReport(users=sum(len(items) > 0 for items in data.sequences))

    @property
    def is_full(self) -> bool:
        """Whether there are as many examples as asked for."""
        return self._wants_no_ranking and self._wants_no_rating

    @property
    def _wants_no_ranking(self) -> bool:
        return len(self._rankings) >= self._config.max_rankings

    @property
    def _wants_no_rating(self) -> bool:
        return self._ratings is None or len(self._rated) >= self._config.max_ratings

    def users_in_order(self) -> Iterator[int]:
        """Users with enough interactions, the fewest first, with progress."""
        lengths = np.array([len(items) for items in self._sequences])
        order = np.argsort(lengths, kind="stable")
        enough = [int(user) for user in order if lengths[user] >= MIN_INTERACTIONS]
        self.report.users_with_few = self.report.users - len(enough)
        with Progress("instruction examples", len(enough), "user") as progress:
            for user in enough:
                yield user
                progress.advance(1, f"{len(self._rankings)} rankings, {len(self._rated)} ratings")

    def ask_about(self, user: int, questioner: Questioner) -> None:
        """Make examples of a user's newest positions, the newest first."""
        items = self._sequences[user]
        first = max(_MIN_HISTORY, len(items) - self._config.positions_per_user)
        positions = [*range(len(items) - 1, first - 1, -1)]
        self.report.positions += len(positions)
        histories = [items[:position] for position in positions]
        for position, question in zip(
            positions, questioner.ask([user] * len(positions), histories), strict=True
        ):
            if not self._wants_no_ranking:
                self._add_ranking(question, int(items[position]))
            if not self._wants_no_rating:
                self._add_rating(question, int(items[position]), position)

    def _add_ranking(self, question: Question, target: int) -> None:
        shown = [self._shown[item - 1] for item in question.candidates]
        key = (question.history, question.candidates, question.similar, target)
        if target not in question.candidates:
            count(self.report.left_out, "target is not among the candidates")
        elif len(question.candidates) < 2:
            count(self.report.left_out, "fewer than two candidates")
        elif shown.count(self._shown[target - 1]) > 1:
            count(self.report.left_out, "another candidate has the target's title")
        elif key in self._rankings:
            count(self.report.left_out, "duplicate")
        else:
            place = question.candidates.index(target)
            self._rankings[key] = Ranking(question, place)
            count(self.report.target_places, place + 1)

    def _add_rating(self, question: Question, target: int, position: int) -> None:
        value = float(self._ratings[question.user][position]) if self._ratings else np.nan
        key = (question.history, question.similar, target)
        if np.isnan(value):
            count(self.report.ratings_left_out, "no rating")
        elif key in self._rated:
            count(self.report.ratings_left_out, "duplicate")
        else:
            asked = Question(question.user, question.history, (target,), question.similar)
            self._rated[key] = Rating(asked, int(value))
            count(self.report.rating_counts, int(value))

    def finish(self) -> Examples:
        """All examples, and the report."""
        rankings, ratings = [*self._rankings.values()], [*self._rated.values()]
        self.report.rankings, self.report.ratings = len(rankings), len(ratings)
        layout = self._config.layout
        self.report.samples = [
            *(show_ranking(each, layout, self._titles) for each in rankings[:N_SAMPLES]),
            *(show_rating(each, layout, self._titles) for each in ratings[:N_SAMPLES]),
        ]
        return Examples(rankings, ratings, self.report)


def show_ranking(example: Ranking, layout: PromptLayout, titles: Sequence[str]) -> dict[str, str]:
    """Prompt and answer of a list-wise example, candidates shown in the recommender's order."""
    shown = range(len(example.question.candidates))
    prompt = example.question.listwise(layout, titles, shown)
    return {"prompt": prompt, "answer": f" {LABELS[example.target]}"}


def show_rating(example: Rating, layout: PromptLayout, titles: Sequence[str]) -> dict[str, str]:
    """Prompt and answer of a point-wise example."""
    beginning, ends = example.question.pointwise(layout, titles)
    return {"prompt": beginning + ends[0], "answer": str(example.rating)}


def _write_lines(path: Path, examples: Sequence[Ranking] | Sequence[Rating]) -> None:
    lines = []
    for example in examples:
        row = asdict(example)
        lines.append(json.dumps(row.pop("question") | row) + "\n")
    write_atomically(path, "".join(lines).encode())


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _question(row: dict[str, Any]) -> Question:
    parts = {name: tuple(row[name]) for name in ("history", "candidates", "similar", "ratings")}
    return Question(int(row["user"]), **parts)
