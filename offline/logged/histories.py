"""What was known of users when they were answered, as a bundle's service reads it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import polars as pl

from model_store.bundle import Bundle
from model_store.codecs import Event
from model_store.event_rules import INTERACTION
from model_store.history import History, merge
from model_store.keys import MAX_EVENTS_PER_USER


class KnownHistories:
    """Histories of some users by time: the bundle's, and the events that had arrived by then.

    Args:
        bundle: its histories, ids and rules of events.
        events: of `read_events`, in order of arrival.
        user_ids: whose histories will be asked for.
    """

    def __init__(self, bundle: Bundle, events: pl.DataFrame, user_ids: Collection[str]) -> None:
        self._ids, self._reading = bundle.item_ids, bundle.manifest.events
        self._repeats = bundle.manifest.model.repeats
        wanted = set(user_ids)
        self._bases = {one: base for one, base in bundle.all_interactions() if one in wanted}
        self._events: dict[str, list[tuple[float, Event]]] = defaultdict(list)
        columns = ["user_id", "item_id", "timestamp", "rating", "event_type", "event_id"]
        own = events.filter(pl.col("user_id").is_in(list(wanted)))
        for user_id, item_id, timestamp, rating, kind, event_id, arrived_us in own.select(
            *columns, "arrived_us"
        ).iter_rows():
            event = Event(item_id, timestamp, rating, kind or INTERACTION, event_id=event_id)
            self._events[user_id].append((arrived_us / 1e6, event))

    def before(self, user_id: str, at_s: float) -> History:
        """What was known of a user at a time, in unix seconds; in item_indices of the bundle."""
        arrived = [event for arrived_s, event in self._events[user_id] if arrived_s <= at_s]
        base = self._bases.get(user_id)
        found = merge(base, arrived[-MAX_EVENTS_PER_USER:], self._ids, self._reading)
        return found.collapsed(self._repeats)
