"""Interactions of all users as arrays: a row of items a user, oldest first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from model_store.errors import BundleError, InputError
from model_store.files import save_array, write_atomically
from model_store.id_map import IdMap
from offline.data.time_order import order_by_time


@dataclass(frozen=True)
class Interactions:
    """Row u is `offsets[u]:offsets[u + 1]` of the arrays, in time order; ties keep file order.

    user_ids: external ids, by first appearance in the file.
    item_ids: every item of the catalogue, then those that only interactions name.
    offsets: int64 [U + 1]. items: int32 [n], item_index 1..N.
    timestamps: float64 [n], unix seconds. ratings: float32 [n], None where there are none.
    weights: float32 [n] above 0, in the training loss; None: all are alike.
    """

    user_ids: list[str]
    item_ids: IdMap
    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.float64]
    ratings: npt.NDArray[np.float32] | None
    weights: npt.NDArray[np.float32] | None = None

    @classmethod
    def from_rows(
        cls,
        user_ids: list[str],
        item_ids: IdMap,
        users: npt.NDArray[np.integer],
        items: npt.NDArray[np.integer],
        timestamps: npt.NDArray[np.floating],
        ratings: npt.NDArray[np.floating] | None = None,
    ) -> Interactions:
        """Order rows in file order (users: positions in `user_ids`; items: item_index).

        Ties keep file order, never item id: an order by id is a pattern that models learn.
        """
        order = order_by_time(users, timestamps)
        return cls.from_ordered(
            user_ids,
            item_ids,
            users[order],
            items[order],
            timestamps[order],
            None if ratings is None else ratings[order],
        )

    @classmethod
    def from_ordered(
        cls,
        user_ids: list[str],
        item_ids: IdMap,
        users: npt.NDArray[np.integer],
        items: npt.NDArray[np.integer],
        timestamps: npt.NDArray[np.floating],
        ratings: npt.NDArray[np.floating] | None = None,
    ) -> Interactions:
        """As `from_rows`, of rows that are in the order of `order_by_time`."""
        offsets = np.zeros(len(user_ids) + 1, dtype=np.int64)
        np.cumsum(np.bincount(users, minlength=len(user_ids)), out=offsets[1:])
        return cls(
            user_ids,
            item_ids,
            offsets,
            items.astype(np.int32, copy=False),
            timestamps.astype(np.float64, copy=False),
            None if ratings is None else ratings.astype(np.float32, copy=False),
        )

    def __len__(self) -> int:
        """Number of interactions n."""
        return len(self.items)

    @property
    def n_users(self) -> int:
        """Number of users U."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items N, cold ones and not padding counted."""
        return len(self.item_ids)

    def history(self, user: int) -> npt.NDArray[np.int32]:
        """item_indices of a user (position in `user_ids`), oldest first, int32 [L]; a view."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def save(self, folder: Path) -> None:
        """Write as `.npy` and `.json` files."""
        write_atomically(
            folder / "user_ids.json", json.dumps(self.user_ids, ensure_ascii=False).encode()
        )
        self.item_ids.save(folder / "item_ids.json")
        save_array(folder / "offsets.npy", self.offsets)
        save_array(folder / "items.npy", self.items)
        save_array(folder / "timestamps.npy", self.timestamps)
        for name, column in (("ratings", self.ratings), ("weights", self.weights)):
            save_optional(folder / f"{name}.npy", column)

    @classmethod
    def load(cls, folder: Path) -> Interactions:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        try:
            user_ids = json.loads((folder / "user_ids.json").read_bytes())
            item_ids = IdMap.load(folder / "item_ids.json")
        except (OSError, ValueError, BundleError) as error:
            raise InputError(f"{folder}: not readable interactions ({error})") from error
        return cls(
            user_ids,
            item_ids,
            load_array(folder / "offsets.npy", np.int64),
            load_array(folder / "items.npy", np.int32),
            load_array(folder / "timestamps.npy", np.float64),
            load_optional(folder / "ratings.npy"),
            load_optional(folder / "weights.npy"),
        )


def save_optional(path: Path, array: npt.NDArray[np.float32] | None) -> None:
    """Write an array; None removes what an earlier run wrote."""
    if array is None:
        path.unlink(missing_ok=True)
    else:
        save_array(path, array)


def load_optional(path: Path) -> npt.NDArray[np.float32] | None:
    """Read what `save_optional` wrote.

    Raises:
        InputError: the file is damaged.
    """
    return load_array(path, np.float32) if path.is_file() else None


Scalar = TypeVar("Scalar", bound=np.generic)


def load_array(path: Path, dtype: type[Scalar]) -> npt.NDArray[Scalar]:
    """Read a one-dimensional `.npy` file of that dtype.

    Raises:
        InputError: the file is missing, damaged or of another dtype.
    """
    try:
        array: npt.NDArray[Scalar] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable array ({error})") from error
    if array.dtype != dtype or array.ndim != 1:
        raise InputError(
            f"{path}: holds {array.dtype} {array.shape}, expected {dtype.__name__} [n]"
        )
    return array
