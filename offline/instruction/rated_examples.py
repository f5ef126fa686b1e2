"""Point-wise examples of training ratings, and questions about held-out ones (Llama4Rec 4.5.1).

A prompt shows the newest items that a user rated in training, with their ratings, and one more
item; the answer is its rating. A held-out rating is in no prompt, and is no answer that is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_store.rerank_prompt import PromptLayout
from offline.instruction.example_report import N_SAMPLES, ExampleReport, count
from offline.instruction.examples import Examples, Rating, show_rating
from offline.instruction.questions import Question
from offline.instruction.rating_scale import RatingScale
from offline.rating.ratings import Ratings

_MIN_HISTORY = 1


class RatedHistories:
    """What each user rated in training, oldest → newest, with ratings 1 to 5.

    Args:
        train: ratings to learn from.
    """

    def __init__(self, train: Ratings) -> None:
        order = np.argsort(train.users, kind="stable")
        self.scale = RatingScale.of(train.values)
        self._items = train.items[order]
        self._steps = self.scale.steps_of(train.values[order]).astype(np.int64)
        self._users = train.users[order]

    def __len__(self) -> int:
        """Number of ratings."""
        return len(self._users)

    def rows_of(self, user: int) -> range:
        """Rows of a user_index's ratings."""
        return range(*np.searchsorted(self._users, [user, user + 1]).tolist())

    def ask(self, user: int, candidates: Sequence[int], n_history: int) -> Question:
        """What a user would rate some items: `candidates` are item_indices."""
        return self._question(user, [*self.rows_of(user)][-n_history:], candidates)

    def example(self, row: int, n_history: int) -> Rating | None:
        """A question about one of the ratings, with the user's others as history.

        None where there are no others.
        """
        user = int(self._users[row])
        others = [other for other in self.rows_of(user) if other != row][-n_history:]
        if len(others) < _MIN_HISTORY:
            return None
        question = self._question(user, others, [int(self._items[row])])
        return Rating(question, int(self._steps[row]))

    def _question(self, user: int, rows: Sequence[int], candidates: Sequence[int]) -> Question:
        return Question(
            user,
            tuple(self._items[[*rows]].tolist()),
            tuple(int(item) for item in candidates),
            ratings=tuple(self._steps[[*rows]].tolist()),
        )


def make_rated_examples(
    train: Ratings, titles: Sequence[str], layout: PromptLayout, max_examples: int, seed: int
) -> Examples:
    """Examples of ratings drawn at random, each user's other ratings as history.

    Args:
        train: ratings to learn from.
        titles: of all items, row i that of item_index i + 1.
        layout: of the prompts.
        max_examples: at most so many.
        seed: draws them.
    """
    histories = RatedHistories(train)
    report = ExampleReport(users=len(np.unique(train.users)))
    ratings: list[Rating] = []
    for row in np.random.default_rng([seed, 2]).permutation(len(histories)).tolist():
        if len(ratings) == max_examples:
            break
        report.positions += 1
        example = histories.example(row, layout.n_history)
        if example is None:
            count(report.ratings_left_out, "the user has no other rating")
            continue
        ratings.append(example)
        count(report.rating_counts, example.rating)
    report.ratings = len(ratings)
    report.samples = [show_rating(each, layout, titles) for each in ratings[:N_SAMPLES]]
    return Examples([], ratings, report)
