"""Draws the users who get items, the items to choose among, and the places to put them.

Everything is drawn from training sequences alone, and before a model is asked. A held-out item is
as likely to be drawn as any other that the user didn't train with: to leave it out would tell the
training which item was held out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.augmentation.config import AugmentationConfig, SparseUsersConfig
from offline.data.histories import Histories
from offline.instruction.questions import Question
from offline.recommender.recommender import TrainingData

_MIN_CANDIDATES = 2


@dataclass(frozen=True)
class Draw:
    """A user's un-interacted items, in random order, and a place.

    Attributes:
        question: which of the items the user likes next; without similar user.
        position: the item picked will stand in front of this position of the user's sequence.
    """

    question: Question
    position: int


@dataclass(frozen=True)
class Draws:
    """All draws of a data set, with their prompts and numbers of candidates."""

    draws: Sequence[Draw]
    prompts: Sequence[str]
    n_labels: Sequence[int]

    @classmethod
    def of_training(
        cls, data: TrainingData, titles: Sequence[str], config: AugmentationConfig
    ) -> Draws:
        """Those of the users who get items; `titles` has in row i that of item_index i + 1."""
        draws = draw_candidates(data.sequences, data.counts(), config)
        n_labels = [len(draw.question.candidates) for draw in draws]
        prompts = [
            draw.question.listwise(config.layout, titles, range(n))
            for draw, n in zip(draws, n_labels, strict=True)
        ]
        return cls(draws, prompts, n_labels)


def draw_candidates(
    sequences: Histories, counts: npt.NDArray[np.int64], config: AugmentationConfig
) -> list[Draw]:
    """The draws of all users who get items.

    Candidates are items with a training interaction that the user doesn't have. The place is in
    front of a random item of the sequence: behind the last one nothing would follow.

    Args:
        sequences: training items of each user.
        counts: training interactions of each item, int64 [N+1].
        config: shares and limits.
    """
    trained = np.flatnonzero(counts)
    draws = []
    for user in sparse_users(sequences, config):
        rng = np.random.default_rng([config.seed, 1, user])
        sequence = sequences[user]
        history = tuple(sequence[-config.n_history :].tolist())
        drawn = rng.permutation(np.setdiff1d(trained, sequence)).tolist()
        for start in range(0, config.per_user * config.n_candidates, config.n_candidates):
            candidates = tuple(drawn[start : start + config.n_candidates])
            if len(candidates) >= _MIN_CANDIDATES:
                position = int(rng.integers(len(sequence)))
                draws.append(Draw(Question(user, history, candidates), position))
    return draws


def sparse_users(sequences: Histories, config: SparseUsersConfig) -> list[int]:
    """Users who get additions, in ascending order: a share of all, with the fewest interactions.

    Users without any, or with more than the limit, are not among them.
    """
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    fewest = np.argsort(lengths, kind="stable")
    fewest = fewest[lengths[fewest] > 0][: math.ceil(config.share * len(lengths))]
    return sorted(int(user) for user in fewest if lengths[user] <= config.max_interactions)
