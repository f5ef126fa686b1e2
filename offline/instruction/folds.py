"""Cross-fitting: recommenders that were each trained without a part of the users.

A recommender has learnt the next item at each place of its training sequences. Its candidates for
these are better than any that it will have when it serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from offline.recommender.recommender import Recommender, TrainingData


def fold_of_users(n_users: int, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """The part that each user belongs to, int64 [U]; parts differ in size by one user at most."""
    # Epochs draw from (seed, number), which begin with 1, and shares of users from (seed, 0).
    return np.random.default_rng([seed, 0, 1]).permutation(n_users) % folds


def train_without(
    base: Recommender, data: TrainingData, fold: npt.NDArray[np.int64], folder: Path | None
) -> Iterator[Recommender]:
    """The recommender of each fold, trained on all other users for as many epochs as `base` was.

    Args:
        base: a fitted recommender, with the settings that the others get too.
        data: what it was fitted to.
        fold: of each user.
        folder: gets a checkpoint of each training; finished ones are not repeated.
    """
    for number in range(int(fold.max()) + 1):
        others = data.of_users(np.flatnonzero(fold != number))
        yield base.refit(others, None if folder is None else folder / f"fold-{number}")
