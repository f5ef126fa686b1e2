"""Small synthetic data with a structure that a recommender has to find."""

from __future__ import annotations

import numpy as np

from offline.data.histories import Histories, Items
from offline.data.split import Cases
from offline.recommender.recommender import TrainingData, Vectors

N_ITEMS = 30
N_WAVES = 6


def cases_of(histories: Histories, targets: list[int]) -> Cases:
    offsets = np.concatenate(([0], np.cumsum([len(history) for history in histories])))
    return Cases(
        np.arange(len(histories), dtype=np.int32),
        offsets.astype(np.int64),
        np.concatenate(histories).astype(np.int32),
        np.array(targets, dtype=np.int32),
    )


def successor(item: int) -> int:
    return item % N_ITEMS + 1


def walk(start: int, length: int) -> Items:
    """`length` items of the cycle 1 → 2 → … → N → 1, from `start`."""
    return ((start - 1 + np.arange(length)) % N_ITEMS + 1).astype(np.int32)


def planted_cycle(n_users: int = 90, seed: int = 0) -> TrainingData:
    """Everybody walks the same cycle, from anywhere, for anything up to 12 steps."""
    rng = np.random.default_rng(seed)
    walks = [
        walk(int(rng.integers(1, N_ITEMS + 1)), int(rng.integers(3, 13))) for _ in range(n_users)
    ]
    validation = cases_of([w[:-1] for w in walks], [int(w[-1]) for w in walks])
    return TrainingData([w[:-1] for w in walks], N_ITEMS, validation, knowledge_of_places())


def knowledge_of_places() -> Vectors:
    """Where on the cycle each item is, as waves, and much that all items have in common."""
    places = np.arange(N_ITEMS)[:, None] / N_ITEMS
    angles = 2 * np.pi * places * np.arange(1, N_WAVES + 1)
    vectors = np.hstack([np.sin(angles), np.cos(angles), np.full((N_ITEMS, 1), 3.0)])
    knowledge = np.zeros((N_ITEMS + 1, vectors.shape[1]), dtype=np.float32)
    knowledge[1:] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return knowledge


def fresh_histories(n: int = 20) -> list[Items]:
    """Histories without a copy in the training data, of lengths 1 to 10."""
    return [walk(1 + 7 * i % N_ITEMS, 1 + i % 10) for i in range(n)]
