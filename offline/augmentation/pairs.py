"""Data augmentation for direct recommendation: pairs of items, ranked for a user (Llama4Rec 4.2.1).

pairs = AskedPairs.of_training(data, titles, config)
preferences = pairs.ranked(scorer.scores(pairs.prompts, pairs.n_labels))   # added to D: equation 3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from offline.augmentation.config import PairsConfig
from offline.augmentation.draws import sparse_users
from offline.data.histories import Histories
from offline.data.preferences import Preferences
from offline.instruction.label_scorer import Float32
from offline.instruction.questions import Question
from offline.recommender.recommender import TrainingData

Int32 = npt.NDArray[np.int32]
_ORDERS = ((0, 1), (1, 0))


@dataclass(frozen=True)
class Pairs:
    """Pairs of items to rank for a user, int32 [P] each; neither is among the user's own."""

    users: Int32
    first: Int32
    second: Int32

    def __len__(self) -> int:
        """P."""
        return len(self.users)


@dataclass(frozen=True)
class AskedPairs:
    """Pairs, and two prompts about each: with the items in either order."""

    pairs: Pairs
    prompts: Sequence[str]

    @classmethod
    def of_training(cls, data: TrainingData, titles: Sequence[str], config: PairsConfig) -> Self:
        """Pairs of sparse users; `titles` has in row i that of item_index i + 1."""
        pairs = draw_pairs(data.sequences, data.counts(), config)
        prompts = []
        for user, *pair in zip(pairs.users, pairs.first, pairs.second, strict=True):
            history = tuple(data.sequences[user][-config.n_history :].tolist())
            question = Question(int(user), history, (int(pair[0]), int(pair[1])))
            prompts += [question.listwise(config.layout, titles, order) for order in _ORDERS]
        return cls(pairs, prompts)

    @property
    def n_labels(self) -> list[int]:
        """Of each prompt."""
        return [2] * len(self.prompts)

    def ranked(self, scores: Sequence[Float32]) -> Preferences:
        """The pairs in the order that a language model ranks them in.

        The log-probabilities of both prompts of a pair are added: among two items, the label itself
        would decide too often. The first is preferred where both are equal.

        Args:
            scores: of the labels of each prompt, float32 [2] each.
        """
        pairs = self.pairs
        both = np.reshape([*scores], (-1, 2, 2))
        first_wins = both[:, 0, 0] + both[:, 1, 1] >= both[:, 0, 1] + both[:, 1, 0]
        return Preferences(
            pairs.users,
            np.where(first_wins, pairs.first, pairs.second),
            np.where(first_wins, pairs.second, pairs.first),
        )


def draw_pairs(sequences: Histories, counts: npt.NDArray[np.int64], config: PairsConfig) -> Pairs:
    """Random pairs of different items that a sparse user doesn't have, and others do.

    A held-out item is as likely to be drawn as any other that the user didn't train with.

    Args:
        sequences: training items of each user.
        counts: training interactions of each item, int64 [N+1].
        config: shares and limits; users get fewer pairs where fewer items are left.
    """
    trained = np.flatnonzero(counts)
    users, first, second = [], [], []
    for user in sparse_users(sequences, config):
        rng = np.random.default_rng([config.seed, 3, user])
        drawn = rng.permutation(np.setdiff1d(trained, sequences[user]))[: 2 * config.per_user]
        n_pairs = len(drawn) // 2
        users.append(np.full(n_pairs, user))
        first.append(drawn[:n_pairs])
        second.append(drawn[n_pairs : 2 * n_pairs])
    return Pairs(_flat(users), _flat(first), _flat(second))


def _flat(parts: Sequence[npt.NDArray[np.generic]]) -> Int32:
    return np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32)
