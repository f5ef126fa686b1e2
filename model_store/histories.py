"""All users' histories as arrays, as a bundle holds them in four files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.array_checks import check_histories, check_layout
from model_store.codecs import UserHistory
from model_store.id_map import read_ids
from model_store.reading import map_array

EVERYBODY = slice(None)


@dataclass(frozen=True)
class Histories:
    """All users' histories; row u is `offsets[u]:offsets[u + 1]`, oldest to newest.

    user_ids: external ids. offsets: int64 [U + 1]. items: int32, item_index. timestamps: float64,
    unix seconds.
    """

    user_ids: list[str]
    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.float64]

    @classmethod
    def none(cls) -> Histories:
        """Those of a bundle that holds no users."""
        empty = np.zeros(0, dtype=np.int64)
        return cls([], np.zeros(1, np.int64), empty.astype(np.int32), empty.astype(float))

    @classmethod
    def open(cls, folder: Path, names: Sequence[str], n_items: int) -> Histories:
        """Those of the four files with these names: ids, offsets, items, times; mapped.

        Raises:
            BundleUnavailable: a file can't be read now.
            BundleError: they are not histories of `n_items` items.
        """
        user_ids = read_ids(folder / names[0])
        offsets, items, timestamps = (map_array(folder / name) for name in names[1:])
        for name, array, dtype, length in (
            (names[1], offsets, "<i8", len(user_ids) + 1),
            (names[2], items, "<i4", items.size),
            (names[3], timestamps, "<f8", items.size),
        ):
            check_layout(folder / name, array, dtype, (length,))
        check_histories(folder, offsets, items, timestamps, n_items)
        return cls(user_ids, offsets, items, timestamps)

    def rows(self, chosen: slice = EVERYBODY) -> Iterator[tuple[str, slice]]:
        """Users with the place of the history in `items` and `timestamps`."""
        for row in range(*chosen.indices(len(self.user_ids))):
            yield self.user_ids[row], slice(int(self.offsets[row]), int(self.offsets[row + 1]))


@dataclass(frozen=True)
class Interactions:
    """Users' interactions, opened and checked, of which any rows can be read.

    Attributes:
        histories: of all users.
        kinds: uint16, as many as items; None: all are positive, of the type INTERACTION.
    """

    histories: Histories
    kinds: npt.NDArray[np.uint16] | None = None

    def of(self, chosen: slice = EVERYBODY) -> Iterator[tuple[str, UserHistory]]:
        """Some rows of the users, each with the whole history, oldest to newest."""
        # Of a map itself each slice would be a map, which takes longer than its bytes do.
        items, timestamps = np.asarray(self.histories.items), np.asarray(self.histories.timestamps)
        kinds = None if self.kinds is None else np.asarray(self.kinds)
        for user_id, span in self.histories.rows(chosen):
            own = None if kinds is None else kinds[span]
            yield user_id, UserHistory(items[span], timestamps[span], own)
