"""Items that were inserted into training sequences (Llama4Rec 4.2.2), apart from what happened.

A network reads them; they are no target of its loss, and no history, popularity or filter holds
them, since none of these reads anything but sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from model_store.files import save_array
from offline.data.histories import Histories, Items
from offline.data.interactions import load_array

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Row = TypeVar("Row", Int32, Float32)
_NAMES = ("users", "positions", "items")


@dataclass(frozen=True)
class Insertions:
    """A inserted items, int32 [A] each.

    Attributes:
        users: rows of the sequences.
        positions: each stands in front of this position of the row, 0 in front of the oldest item.
        items: item_indices.
    """

    users: Int32
    positions: Int32
    items: Int32

    def __len__(self) -> int:
        """A."""
        return len(self.items)

    def into(self, sequences: Histories) -> list[Items]:
        """The sequences with the inserted items at their positions, negated.

        A position past a sequence's end counts as its end.
        """
        return self._insert([np.asarray(sequence) for sequence in sequences], -self.items)

    def into_weights(self, weights: Sequence[Float32]) -> list[Float32]:
        """Weights of the sequences' items, with 0 where `into` has an inserted item."""
        return self._insert([*weights], np.zeros(len(self), np.float32))

    def _insert(self, rows: list[Row], values: Row) -> list[Row]:
        """The rows with a value for each inserted item at its position."""
        for user in np.unique(self.users):
            its = self.users == user
            positions = np.minimum(self.positions[its], len(rows[user]))
            rows[user] = np.insert(rows[user], positions, values[its])
        return rows

    def of_users(self, users: npt.NDArray[np.intp]) -> Insertions:
        """Those of some users, who become rows 0, 1, … in the given, ascending order."""
        kept = np.isin(self.users, users)
        chosen = self._of(kept)
        return replace(chosen, users=np.searchsorted(users, chosen.users).astype(np.int32))

    def not_in(self, sequences: Histories) -> Insertions:
        """Those whose item is not in the sequence itself."""
        rows = zip(self.users, self.items, strict=True)
        return self._of(np.array([item not in sequences[user] for user, item in rows], dtype=bool))

    def save(self, folder: Path) -> None:
        """Write as `.npy` files."""
        for name in _NAMES:
            save_array(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Insertions:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        return cls(*(load_array(folder / f"{name}.npy", np.int32) for name in _NAMES))

    def _of(self, kept: npt.NDArray[np.bool_]) -> Insertions:
        return Insertions(self.users[kept], self.positions[kept], self.items[kept])
