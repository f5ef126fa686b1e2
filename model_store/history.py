"""A user's history as one list: the base from training, and later events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from model_store.codecs import Event, UserHistory, first_reports
from model_store.errors import StoreError
from model_store.event_rules import DEFAULT_EVENTS, INTERACTION, EventsInfo
from model_store.id_map import IdMap
from model_store.repeats import Repeats, collapse

Items = npt.NDArray[np.int32]
NO_ITEMS: Items = np.empty(0, dtype=np.int32)
NO_ITEMS.setflags(write=False)


@dataclass(frozen=True)
class History:
    """Known items of positive interactions, oldest to newest, int32 [L].

    Attributes:
        n_unknown: number of unknown ones among them.
        is_complete: False where the store could not be read, in time or at all: something may be
            missing.
        disliked: items whose last word is a negative interaction, int32 in any order.
        by_type: items of all interactions by their type, negative and context-only ones too;
            None: all are positive, of the type INTERACTION.
    """

    items: Items = field(default_factory=lambda: NO_ITEMS)
    n_unknown: int = 0
    is_complete: bool = True
    disliked: Items = field(default_factory=lambda: NO_ITEMS)
    by_type: Mapping[str, Items] | None = None

    def collapsed(self, repeats: Repeats) -> History:
        """The history as a model reads it that was trained with repeats collapsed so."""
        return replace(self, items=collapse(self.items, repeats))

    def of_types(self, types: Sequence[str]) -> Items:
        """Items with an interaction of one of these types, int32 in any order."""
        if self.by_type is None:
            return self.items if INTERACTION in types else NO_ITEMS
        found = [self.by_type[name] for name in types if name in self.by_type]
        return np.concatenate(found) if found else NO_ITEMS


def merge(
    base: UserHistory | None,
    events: Sequence[Event],
    ids: IdMap,
    reading: EventsInfo = DEFAULT_EVENTS,
) -> History:
    """Base and events in order of time; of equal times the base comes first, then arrival order.

    The same event (`first_reports`) counts once, be it in the base already or reported twice.

    Args:
        base: in the item indices of `ids`.
        events: in order of arrival.
        ids: of a version.
        reading: how the version reads events, and the types that its base counts.

    Raises:
        StoreError: the base's times, by which the events have to be placed, are not in order.
    """
    if not events and (base is None or base.kinds is None):
        return History(base.items) if base is not None else History()
    # Comparisons with NaN are false, so NaN is found as well.
    if base is not None and not (base.timestamps[1:] >= base.timestamps[:-1]).all():
        raise StoreError("user blob holds times that are not in order")
    past = base.positive() if base is not None else None
    known: list[tuple[int, float]] = []
    negative: list[tuple[int, float]] = [] if base is None else base.negative()
    by_type: dict[str, list[int]] = {}
    n_unknown = 0
    is_plain = base is None or base.kinds is None
    for event in first_reports(events):
        index = ids.index_of(event.item_id)
        weight = reading.rules.weigh(event.type, event.rating)
        if index is None:
            n_unknown += weight > 0
            continue
        by_type.setdefault(event.type, []).append(index)
        is_plain = is_plain and weight > 0 and event.type == INTERACTION
        if weight < 0:
            negative.append((index, event.timestamp))
        elif weight > 0 and (past is None or not _holds(past, index, event.identity[1])):
            known.append((index, event.timestamp))
    items = np.array([index for index, _ in known], dtype=np.int32)
    timestamps = np.array([timestamp for _, timestamp in known], dtype=np.float64)
    if past is not None:
        items = np.concatenate([past.items, items])
        timestamps = np.concatenate([past.timestamps, timestamps])
    return History(
        items[np.argsort(timestamps, kind="stable")],
        n_unknown,
        disliked=_disliked(negative, items, timestamps) if negative else NO_ITEMS,
        by_type=None if is_plain else _by_type(base, by_type, reading.types),
    )


def _disliked(
    negative: Sequence[tuple[int, float]], items: Items, timestamps: npt.NDArray[np.float64]
) -> Items:
    """Items with a negative interaction and no positive one after it."""
    last: dict[int, float] = {}
    for index, timestamp in negative:
        last[index] = max(timestamp, last.get(index, timestamp))
    left = [
        index
        for index, timestamp in last.items()
        if not (timestamps[items == index] > timestamp).any()
    ]
    return np.array(left, dtype=np.int32)


def _by_type(
    base: UserHistory | None, events: Mapping[str, Sequence[int]], types: Sequence[str]
) -> Mapping[str, Items]:
    """See `History.by_type`."""
    found = {name: np.array(items, dtype=np.int32) for name, items in events.items()}
    for name, items in ({} if base is None else base.by_type(types)).items():
        found[name] = np.concatenate([items, found[name]]) if name in found else items
    return found


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
