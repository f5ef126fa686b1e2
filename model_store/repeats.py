"""How a user's repeats of an item are collapsed: in training, and in the histories of requests.

A model that was trained on collapsed histories reads collapsed ones, whatever events a service got.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Repeats = Literal["keep", "runs", "first"]
"""keep: all interactions; runs: of a run of one item, without another in between, the first; first:
the first interaction with each item.
"""

Items = npt.NDArray[np.int32]


def collapse(items: Items, repeats: Repeats) -> Items:
    """A history without the repeats that are collapsed; itself where there are none.

    Args:
        items: item_indices, oldest first, int32 [L].
        repeats: what is collapsed.
    """
    if repeats == "keep" or len(items) < 2:
        return items
    if repeats == "runs":
        kept = np.append(True, items[1:] != items[:-1])
        return items if kept.all() else items[kept]
    _, first = np.unique(items, return_index=True)
    return items if len(first) == len(items) else items[np.sort(first)]
