"""Ranks of targets after a reranker, from its scores of the recommender's first k' items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.aggregation import Weighting, aggregate
from offline.metrics import Ranks, ndcg_at_k

Float32 = npt.NDArray[np.float32]
Scores = Sequence[Float32]
Weigh = Callable[[int], float]
"""The weight of the other ranking for a user with so many interactions."""

UNIFORM_WEIGHT = 0.5
# Of the paper (section 5.1.5), and 0, which leaves the base ranking as it is.
ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Shortlists:
    """The cases of a part, with those whose target is among the first k' unseen items.

    Attributes:
        ranks: of all targets by the recommender alone, int64 [C].
        cases: numbers of the cases with the target among the first k', int64 [A].
        positions: of each target among its candidates, int64 [A].
        n_interactions: of each such case's user, before the target, int64 [A].
    """

    ranks: Ranks
    cases: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    n_interactions: npt.NDArray[np.int64]

    def reranked(self, scores: Scores, weigh: Weigh) -> Ranks:
        """Ranks of all targets after the first k' items of each case were reordered, int64 [C].

        What stands behind the first k' stays where it is. Items that the recommender scores as high
        as the target go on to count as ahead of it.

        Args:
            scores: of the candidates, [number of candidates] a case, higher is better.
            weigh: the weight of their ranking against the recommender's.
        """
        ranks = self.ranks.copy()
        for case, position, n_interactions, of_case in zip(
            self.cases, self.positions, self.n_interactions, scores, strict=True
        ):
            order = aggregate(of_case, weigh(int(n_interactions)))
            ranks[case] += int(np.flatnonzero(order == position)[0]) - position
        return ranks


def choose_weighting(shortlists: Shortlists, scores: Scores, counts: Sequence[int]) -> Weighting:
    """The weighting with the best NDCG@10; of equal ones that which weighs the scores least.

    Args:
        shortlists: of validation.
        scores: of the candidates.
        counts: training interactions of each user.
    """
    pairs = [(0.0, 0.0), *((first, second) for first in ALPHAS for second in ALPHAS)]
    weightings = [Weighting.of_users(counts, *pair) for pair in pairs]
    # max() keeps the first of equal ones.
    return max(weightings, key=lambda each: ndcg_at_k(shortlists.reranked(scores, each.weight), 10))


def weigh_tail(weighting: Weighting) -> Weigh:
    """A weighting for tail users; the others keep the recommender's ranking."""
    return lambda n: weighting.weight(n) if weighting.is_tail(n) else 0.0


def weigh_all(_: int) -> float:
    """The other ranking alone."""
    return 1.0


def weigh_uniformly(_: int) -> float:
    """Both rankings alike, whoever the user is."""
    return UNIFORM_WEIGHT
