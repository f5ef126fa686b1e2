"""Data augmentation for direct recommendation: pairs of items, ranked for a user (Llama4Rec 4.2.1).

observed = observed_triples(sequences, n_items, seed)
ranked = rank_pairs(draw_pairs(sequences, n_items, 2, seed), sequences, titles, layout, scorer)
triples = observed.and_also(ranked)      # D' of equation 3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.rerank_prompt import PromptLayout
from offline.data.histories import Histories
from offline.instruction.label_scorer import LabelScorer

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Triples:
    """Users with an item they prefer to another: (u, i+, i-), int32 [T] each."""

    users: Int32
    preferred: Int32
    others: Int32

    def __len__(self) -> int:
        """T."""
        return len(self.users)

    def and_also(self, more: Triples) -> Triples:
        """Both, these first."""
        return Triples(
            np.concatenate([self.users, more.users]),
            np.concatenate([self.preferred, more.preferred]),
            np.concatenate([self.others, more.others]),
        )


@dataclass(frozen=True)
class Pairs:
    """Pairs of items to rank for a user, int32 [P] each; neither is among the user's own."""

    users: Int32
    first: Int32
    second: Int32

    def __len__(self) -> int:
        """P."""
        return len(self.users)


def observed_triples(sequences: Histories, n_items: int, seed: int) -> Triples:
    """D of equation 2: each interaction, and a random item that the user doesn't have.

    Users who have every item make none.
    """
    rng = np.random.default_rng([seed, 0])
    users, preferred, others = [], [], []
    for user, sequence in enumerate(sequences):
        unknown = _unknown(sequence, n_items)
        if len(unknown) and len(sequence):
            users.append(np.full(len(sequence), user))
            preferred.append(sequence)
            others.append(rng.choice(unknown, len(sequence)))
    return Triples(_flat(users), _flat(preferred), _flat(others))


def draw_pairs(sequences: Histories, n_items: int, per_user: int, seed: int) -> Pairs:
    """Random pairs of different items that a user with a history doesn't have.

    Args:
        sequences: training items of each user.
        n_items: N.
        per_user: pairs of each user; fewer where fewer items are left.
        seed: draws them.
    """
    rng = np.random.default_rng([seed, 1])
    users, first, second = [], [], []
    for user, sequence in enumerate(sequences):
        if not len(sequence):
            continue
        drawn = rng.permutation(_unknown(sequence, n_items))[: 2 * per_user]
        n_pairs = len(drawn) // 2
        users.append(np.full(n_pairs, user))
        first.append(drawn[:n_pairs])
        second.append(drawn[n_pairs : 2 * n_pairs])
    return Pairs(_flat(users), _flat(first), _flat(second))


def rank_pairs(
    pairs: Pairs,
    sequences: Histories,
    titles: Sequence[str],
    layout: PromptLayout,
    scorer: LabelScorer,
) -> Triples:
    """The pairs in the order that a language model ranks them in.

    It is asked twice with the two items in either order, and the probabilities are multiplied:
    among two, the label itself would decide too often. The first is preferred where both are equal.

    Args:
        pairs: P of them.
        sequences: training items of each user.
        titles: of all items, row i that of item_index i + 1.
        layout: of the prompts, which have neither similar user nor prediction.
        scorer: ranks.
    """
    plain = layout.model_copy(update={"shows_prediction": False})
    prompts = []
    for user, *pair in zip(pairs.users, pairs.first, pairs.second, strict=True):
        history = [titles[item - 1] for item in sequences[user]]
        shown = [titles[item - 1] for item in pair]
        prompts += [plain.listwise(history, shown, order) for order in ((0, 1), (1, 0))]
    if not prompts:
        return Triples(pairs.users, pairs.first, pairs.second)
    scores = np.stack(scorer.scores(prompts, [2] * len(prompts))).reshape(-1, 2, 2)
    first_wins = scores[:, 0, 0] + scores[:, 1, 1] >= scores[:, 0, 1] + scores[:, 1, 0]
    return Triples(
        pairs.users,
        np.where(first_wins, pairs.first, pairs.second),
        np.where(first_wins, pairs.second, pairs.first),
    )


def _unknown(sequence: npt.NDArray[np.int32], n_items: int) -> npt.NDArray[np.int64]:
    return np.setdiff1d(np.arange(1, n_items + 1), sequence)


def _flat(parts: Sequence[npt.NDArray[np.generic]]) -> Int32:
    return np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32)
