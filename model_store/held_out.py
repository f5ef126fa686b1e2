"""The ratings that a rating bundle's report is about: held out, and none of them trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model_store.array_checks import check_layout, check_range
from model_store.errors import BundleError
from model_store.reading import map_array

if TYPE_CHECKING:
    from model_store.bundle import Bundle

HELD_OUT_USERS = "held_out_users.npy"
HELD_OUT_ITEMS = "held_out_items.npy"
HELD_OUT_VALUES = "held_out_values.npy"
HELD_OUT_FILES = (HELD_OUT_USERS, HELD_OUT_ITEMS, HELD_OUT_VALUES)


@dataclass(frozen=True)
class HeldOutRatings:
    """n ratings, those of a user together.

    Attributes:
        users: int32 [n], user_index 1..U.
        items: int32 [n], item_index 1..N.
        values: float32 [n].
    """

    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Number of ratings n."""
        return len(self.values)

    @classmethod
    def of(cls, bundle: Bundle) -> HeldOutRatings | None:
        """Those of a bundle; None where it holds none, as those of earlier releases.

        Raises:
            BundleUnavailable: a file can't be read now.
            BundleError: they are not ratings of the bundle's users and items.
        """
        if not bundle.has(HELD_OUT_USERS):
            return None
        folder, manifest = bundle.folder, bundle.manifest
        users, items, values = (map_array(folder / name) for name in HELD_OUT_FILES)
        n = (users.size,)
        for name, array, dtype in (
            (HELD_OUT_USERS, users, "<i4"),
            (HELD_OUT_ITEMS, items, "<i4"),
            (HELD_OUT_VALUES, values, "<f4"),
        ):
            check_layout(folder / name, array, dtype, n)
        if not users.size:
            raise BundleError(f"{folder / HELD_OUT_USERS}: no ratings")
        check_range(folder / HELD_OUT_USERS, users, 1, manifest.n_users, _go_on)
        check_range(folder / HELD_OUT_ITEMS, items, 1, manifest.n_items, _go_on)
        return cls(users, items, values)


def _go_on() -> None:
    """Nothing else needs the CPU meanwhile."""
