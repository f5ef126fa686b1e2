"""Users who walk a ring of items, and a recommender that counts their steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_store.id_map import IdMap
from offline.data.histories import Histories
from offline.data.interactions import Interactions
from offline.data.split import Split, leave_one_out
from offline.recommender.baselines import Markov
from offline.recommender.recommender import TrainingData

N_ITEMS = 40
TITLES = [f"film {number}" for number in range(1, N_ITEMS + 1)]


def make_interactions(n_users: int = 30, seed: int = 0) -> Interactions:
    """Walks of 2 to 13 items, mostly to the next on the ring, rated 1 to 5."""
    rng = np.random.default_rng(seed)
    users, items = [], []
    for user in range(n_users):
        steps = rng.choice([1, 1, 1, 2, 5], int(rng.integers(2, 14)))
        walked = dict.fromkeys((int(rng.integers(N_ITEMS)) + np.cumsum(steps)) % N_ITEMS + 1)
        users += [user] * len(walked)
        items += walked
    return Interactions.from_rows(
        [f"u{user}" for user in range(n_users)],
        IdMap([f"i{item}" for item in range(1, N_ITEMS + 1)]),
        np.array(users),
        np.array(items),
        np.arange(len(items), dtype=np.float64),
        rng.integers(1, 6, len(items)).astype(np.float32),
    )


def make_split(n_users: int = 30, seed: int = 0) -> Split:
    return leave_one_out(make_interactions(n_users, seed))


class CountingRecommender:
    """Last-item counts as scores, and shares of items as user vectors; remembers its data."""

    def __init__(self, data: TrainingData) -> None:
        self.data = data
        self._markov = Markov().fit(data)
        self.refitted: list[CountingRecommender] = []

    def refit(self, data: TrainingData, _folder: Path | None = None) -> CountingRecommender:
        self.refitted.append(CountingRecommender(data))
        return self.refitted[-1]

    def score(self, histories: Histories) -> np.ndarray:
        return self._markov.score(histories)

    def user_vectors(self, histories: Histories) -> np.ndarray:
        vectors = np.zeros((len(histories), N_ITEMS), np.float32)
        for row, history in zip(vectors, histories, strict=True):
            row[np.asarray(history) - 1] = 1
        return vectors


def was_trained_on(model: CountingRecommender, sequence: Sequence[int]) -> bool:
    return any(np.array_equal(items, sequence) for items in model.data.sequences)
