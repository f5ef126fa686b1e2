"""Pairs of items that a language model ranked for users (Llama4Rec 4.2.1), not what happened.

A direct model's loss reads them beside observed triples; no graph, history or popularity does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.files import save_array
from offline.data.histories import Histories
from offline.data.interactions import load_array

Int32 = npt.NDArray[np.int32]
_NAMES = ("users", "preferred", "others")


@dataclass(frozen=True)
class Preferences:
    """Triples (u, i⁺, i⁻) of equation 3 that were not observed, int32 [P] each.

    Attributes:
        users: rows of the sequences.
        preferred: item_indices.
        others: item_indices of the items that the user likes less.
    """

    users: Int32
    preferred: Int32
    others: Int32

    def __len__(self) -> int:
        """P."""
        return len(self.users)

    def not_in(self, sequences: Histories) -> Preferences:
        """Those of two items that both are not in the user's sequence."""
        rows = zip(self.users, self.preferred, self.others, strict=True)
        kept = [not np.isin([first, other], sequences[user]).any() for user, first, other in rows]
        mask = np.array(kept, dtype=bool)
        return Preferences(self.users[mask], self.preferred[mask], self.others[mask])

    def save(self, folder: Path) -> None:
        """Write as `.npy` files."""
        for name in _NAMES:
            save_array(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Preferences:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        return cls(*(load_array(folder / f"{name}.npy", np.int32) for name in _NAMES))
