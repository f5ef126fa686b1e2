"""A user's history as one list: what was known at training, and the events since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model_store.codecs import Event, UserHistory
from model_store.id_map import IdMap

NO_ITEMS: npt.NDArray[np.int32] = np.empty(0, dtype=np.int32)
NO_ITEMS.setflags(write=False)


@dataclass(frozen=True)
class History:
    """Known items, oldest to newest, int32 [L]; and how many others there were."""

    items: npt.NDArray[np.int32] = field(default_factory=lambda: NO_ITEMS)
    n_unknown: int = 0
    is_complete: bool = True
    """False where the store could not be read, in time or at all: something may be missing."""


def merge(base: UserHistory | None, events: Sequence[Event], ids: IdMap) -> History:
    """Base and events in order of time; of equal times the base comes first, then arrival order.

    An event that is in the base already (same item, same second) or was sent twice counts once:
    a client that repeats an unacknowledged call does no harm.
    """
    if not events:
        return History(base.items) if base is not None else History()
    once = dict.fromkeys((event.item_id, event.timestamp) for event in events)
    known: list[tuple[int, float]] = []
    n_unknown = 0
    for item_id, timestamp in once:
        index = ids.index_of(item_id)
        if index is None:
            n_unknown += 1
        elif base is None or not _holds(base, index, timestamp):
            known.append((index, timestamp))
    items = np.array([index for index, _ in known], dtype=np.int32)
    timestamps = np.array([timestamp for _, timestamp in known], dtype=np.float64)
    if base is not None:
        items = np.concatenate([base.items, items])
        timestamps = np.concatenate([base.timestamps, timestamps])
    return History(items[np.argsort(timestamps, kind="stable")], n_unknown)


def _holds(base: UserHistory, index: int, timestamp: float) -> bool:
    first = np.searchsorted(base.timestamps, timestamp, side="left")
    last = np.searchsorted(base.timestamps, timestamp, side="right")
    return bool((base.items[first:last] == index).any())
