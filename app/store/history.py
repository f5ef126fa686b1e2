"""A user's history as one list: the base from training, and later events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from model_store.codecs import Event, UserHistory
from model_store.errors import StoreError
from model_store.id_map import IdMap
from model_store.repeats import Repeats, collapse

NO_ITEMS: npt.NDArray[np.int32] = np.empty(0, dtype=np.int32)
NO_ITEMS.setflags(write=False)


@dataclass(frozen=True)
class History:
    """Known items, oldest to newest, int32 [L]; and the number of unknown ones."""

    items: npt.NDArray[np.int32] = field(default_factory=lambda: NO_ITEMS)
    n_unknown: int = 0
    is_complete: bool = True
    """False where the store could not be read, in time or at all: something may be missing."""

    def collapsed(self, repeats: Repeats) -> History:
        """The history as a model reads it that was trained with repeats collapsed so."""
        return replace(self, items=collapse(self.items, repeats))


def merge(base: UserHistory | None, events: Sequence[Event], ids: IdMap) -> History:
    """Base and events in order of time; of equal times the base comes first, then arrival order.

    The same event (`Event.identity`) counts once, be it in the base already or reported twice.

    Raises:
        StoreError: the base's times, by which the events have to be placed, are not in order.
    """
    if not events:
        return History(base.items) if base is not None else History()
    # Comparisons with NaN are false, so NaN is found as well.
    if base is not None and not (base.timestamps[1:] >= base.timestamps[:-1]).all():
        raise StoreError("user blob holds times that are not in order")
    once: dict[tuple[str, float], Event] = {}
    for event in events:
        once.setdefault(event.identity, event)
    known: list[tuple[int, float]] = []
    n_unknown = 0
    for (item_id, second), event in once.items():
        index = ids.index_of(item_id)
        if index is None:
            n_unknown += 1
        elif base is None or not _holds(base, index, second):
            known.append((index, event.timestamp))
    items = np.array([index for index, _ in known], dtype=np.int32)
    timestamps = np.array([timestamp for _, timestamp in known], dtype=np.float64)
    if base is not None:
        items = np.concatenate([base.items, items])
        timestamps = np.concatenate([base.timestamps, timestamps])
    return History(items[np.argsort(timestamps, kind="stable")], n_unknown)


def check_items(base: UserHistory, n_items: int) -> UserHistory:
    """The base, if its items are items of this version.

    Raises:
        StoreError: they aren't.
    """
    # As unsigned numbers what is below 1 is very large: one pass finds both.
    if len(base.items) and (base.items - 1).view(np.uint32).max() >= n_items:
        raise StoreError(
            f"user blob holds an item index outside 1 to {n_items} "
            f"({base.items.min()} to {base.items.max()})"
        )
    return base


def _holds(base: UserHistory, index: int, second: float) -> bool:
    first = np.searchsorted(base.timestamps, second, side="left")
    last = np.searchsorted(base.timestamps, second + 1, side="left")
    return bool((base.items[first:last] == index).any())
