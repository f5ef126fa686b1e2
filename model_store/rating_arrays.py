"""The arrays of a bundle of kind rating: what its graph reads of users, and means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.array_checks import MAX_WEIGHT, Pause, check_layout, check_padding, check_range
from model_store.reading import map_array

USER_TABLE = "user_table.npy"
RATED_TABLE = "rated_table.npy"
USER_MEANS = "user_means.npy"
ITEM_MEANS = "item_means.npy"
RATING_FILES = (USER_TABLE, RATED_TABLE, USER_MEANS, ITEM_MEANS)


@dataclass(frozen=True)
class RatingArrays:
    """Of U users and N items.

    Attributes:
        user_table: float32 [U+1, user_size], what the graph reads of each user; row 0 zeros.
        rated_table: float32 [N+1, user_size / 2]; the mean over a history is half of a user's row.
        user_means: float32 [U+1], mean rating of each user, shrunk to the global mean, row 0.
        item_means: float32 [N+1], mean rating of each item, shrunk in the same way.
    """

    user_table: npt.NDArray[np.float32]
    rated_table: npt.NDArray[np.float32]
    user_means: npt.NDArray[np.float32]
    item_means: npt.NDArray[np.float32]

    @classmethod
    def open(cls, folder: Path) -> RatingArrays:
        """Those of a bundle's folder, mapped and read-only.

        Raises:
            BundleUnavailable: a file can't be read now.
            BundleError: it is no array.
        """
        return cls(*(map_array(folder / name) for name in RATING_FILES))

    def check_layouts(self, folder: Path, n_users: int, n_items: int, user_size: int) -> None:
        """Check types and shapes.

        Raises:
            BundleError: an array has another one.
        """
        check_layout(folder / USER_TABLE, self.user_table, "<f4", (n_users + 1, user_size))
        check_layout(folder / RATED_TABLE, self.rated_table, "<f4", (n_items + 1, user_size // 2))
        check_layout(folder / USER_MEANS, self.user_means, "<f4", (n_users + 1,))
        check_layout(folder / ITEM_MEANS, self.item_means, "<f4", (n_items + 1,))

    def check(self, folder: Path, scale: tuple[float, float], pause: Pause) -> None:
        """Check that rows are usable numbers, and means within the scale of the ratings.

        Raises:
            BundleError: an array holds others.
        """
        for name, rows in ((USER_TABLE, self.user_table), (RATED_TABLE, self.rated_table)):
            check_range(folder / name, rows, -MAX_WEIGHT, MAX_WEIGHT, pause)
            check_padding(folder / name, rows)
        for name, means in ((USER_MEANS, self.user_means), (ITEM_MEANS, self.item_means)):
            check_range(folder / name, means, *scale, pause)
