"""Ratings of items by users as parallel arrays, held out at random, by user or by time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.errors import InputError
from model_store.files import save_array
from offline.data.interactions import Interactions, load_array

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

TRAIN, VALIDATION, TEST = 0, 1, 2
_SHARES = (0.8, 0.1)  # of training and validation; test has the rest


@dataclass(frozen=True)
class Ratings:
    """Ratings in the order of `Interactions`; user u, from 0, has user_index u + 1.

    users: int32 [n], user_index 1..U. items: int32 [n], item_index 1..N. values: float32 [n].
    """

    users: Int32
    items: Int32
    values: Float32

    def __len__(self) -> int:
        """Number of ratings n."""
        return len(self.values)

    def chosen(self, mask: Bool) -> Ratings:
        """Some of the ratings, in their order; `mask` is bool [n]."""
        return Ratings(self.users[mask], self.items[mask], self.values[mask])

    def split(self, parts: Int8) -> RatingSplit:
        """By each rating's part, int8 [n]; a part may be empty."""
        return RatingSplit(*(self.chosen(parts == part) for part in (TRAIN, VALIDATION, TEST)))

    def with_all(self, other: Ratings) -> Ratings:
        """These ratings, then others."""
        return Ratings(
            np.concatenate([self.users, other.users]),
            np.concatenate([self.items, other.items]),
            np.concatenate([self.values, other.values]),
        )

    def save(self, folder: Path) -> None:
        """Write as `.npy` files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("users", "items", "values"):
            save_array(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Ratings:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        return cls(
            load_array(folder / "users.npy", np.int32),
            load_array(folder / "items.npy", np.int32),
            load_array(folder / "values.npy", np.float32),
        )


@dataclass(frozen=True)
class RatingSplit:
    """Ratings to learn from, to choose by, and to measure on."""

    train: Ratings
    validation: Ratings
    test: Ratings

    def save(self, folder: Path) -> None:
        """Write as `.npy` files."""
        for name in ("train", "validation", "test"):
            getattr(self, name).save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> RatingSplit:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        return cls(*(Ratings.load(folder / name) for name in ("train", "validation", "test")))


def split_ratings(interactions: Interactions, split: str, seed: int) -> RatingSplit:
    """Hold ratings out; interactions without a rating are left out.

    Args:
        interactions: of the data set.
        split: one of `RATING_SPLITS`.
        seed: of the random split; the others draw nothing.

    Raises:
        InputError: there are no ratings, all are alike, or none can be held out.
    """
    ratings, rated = ratings_of(interactions)
    users = ratings.users.astype(np.int64) - 1
    found = ratings.split(RATING_SPLITS[split](users, interactions.timestamps[rated], seed))
    for name, part in (
        ("training", found.train),
        ("validation", found.validation),
        ("test", found.test),
    ):
        if not len(part):
            raise InputError(f"{len(ratings):,} ratings, split {split}: none is left for {name}")
    return found


def ratings_of(interactions: Interactions) -> tuple[Ratings, Bool]:
    """The ratings of a data set, and which of its n interactions have one, bool [n].

    Raises:
        InputError: there are no ratings, or all are alike.
    """
    if interactions.ratings is None or np.isnan(interactions.ratings).all():
        raise InputError(
            "the interactions have no ratings to predict "
            "(--columns rating=NAME names the column of them)"
        )
    rated = ~np.isnan(interactions.ratings)
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.offsets))[rated]
    ratings = Ratings(
        (users + 1).astype(np.int32), interactions.items[rated], interactions.ratings[rated]
    )
    if ratings.values.min() == ratings.values.max():
        raise InputError(f"all {len(ratings):,} ratings are {ratings.values[0]:g}")
    return ratings, rated


def random_parts(users: Int64, timestamps: npt.NDArray[np.float64], seed: int) -> Int8:  # noqa: ARG001
    """Each rating's part, int8 [n]: 8:1:1 of all ratings, drawn at random by the seed."""
    n = len(users)
    ends = [round(n * _SHARES[0]), round(n * sum(_SHARES))]
    parts = np.full(n, TEST, np.int8)
    order = np.random.default_rng(seed).permutation(n)
    parts[order[: ends[0]]] = TRAIN
    parts[order[ends[0] : ends[1]]] = VALIDATION
    return parts


def last_parts(users: Int64, timestamps: npt.NDArray[np.float64], seed: int) -> Int8:  # noqa: ARG001
    """Each rating's part: a user's last is for test, the one before for validation.

    Users with fewer than three ratings only train. Users ascend, their ratings oldest first.
    """
    n_left = np.searchsorted(users, users, side="right") - np.arange(len(users))
    parts = np.where(n_left == 1, TEST, np.where(n_left == 2, VALIDATION, TRAIN)).astype(np.int8)
    parts[np.bincount(users)[users] < 3] = TRAIN
    return parts


def time_parts(users: Int64, timestamps: npt.NDArray[np.float64], seed: int) -> Int8:  # noqa: ARG001
    """Each rating's part by two times that are the same for all users: about 8:1:1, oldest first.

    Ratings of one time are of one part.
    """
    times, n = np.sort(timestamps), len(users)
    cuts = [times[min(round(n * share), n - 1)] for share in (_SHARES[0], sum(_SHARES))]
    parts: Int8 = (timestamps >= cuts[0]).astype(np.int8)
    parts[timestamps >= cuts[1]] = TEST
    return parts


RATING_SPLITS: dict[str, Callable[[Int64, npt.NDArray[np.float64], int], Int8]] = {
    "random": random_parts,
    "leave_one_out": last_parts,
    "global_time": time_parts,
}
"""Ways to hold ratings out, by the names of `--split`."""
