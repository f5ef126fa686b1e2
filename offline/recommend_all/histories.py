"""Every user's history, as a service would read it for a request: of a bundle, or of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import polars as pl

from model_store.bundle import Bundle
from model_store.codecs import UserHistory
from model_store.event_rules import EventsInfo
from model_store.history import History, merge
from model_store.id_map import IdMap
from offline.data.config import DataConfig
from offline.data.dataset import Dataset, read_dataset
from offline.data.selection import select
from offline.engine.rows import Rows
from offline.inputs import Source
from offline.recommend_all.ranker import DISLIKED, HISTORY, USER_ID

Log = Callable[[str], None]
_DIGITS = 9


@dataclass(frozen=True)
class UserHistories:
    """What is known of each user.

    Attributes:
        user_ids: external ids.
        history: items of positive interactions, oldest first, as the bundle's network reads them.
        disliked: items whose last word is a negative interaction.
    """

    user_ids: Sequence[str]
    history: Rows
    disliked: Rows

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Self:
        """Those that the bundle holds, which publishing it writes into the store.

        Raises:
            BundleError: they can't be read.
        """
        events, repeats = bundle.manifest.events, bundle.manifest.model.repeats
        if not events.types and repeats == "keep":
            held = bundle.histories()
            nobody = np.zeros(len(held.user_ids) + 1, np.int64)
            no_items = np.zeros(0, np.int32)
            return cls(held.user_ids, Rows(held.offsets, held.items), Rows(nobody, no_items))
        return cls._of_users(bundle.all_interactions(), bundle, events)

    @classmethod
    def of_source(cls, source: Source, bundle: Bundle, log: Log) -> Self:
        """Those of a data set, in the bundle's item_indices and by its rules of events.

        Args:
            source: the files.
            bundle: knows some of their items; interactions with others are left out.
            log: called with what was understood, and what was left out.

        Raises:
            InputError: a file can't be used, or no interaction is positive.
        """
        reading = bundle.manifest.events
        read = read_dataset(source.interactions, source.items, source.naming, source.events)
        # No item is left out for being disliked alone: the bundle may know it.
        read = replace(read, n_catalogued=read.interactions.n_items)
        dataset = select(read, _choices_of(bundle), reading.rules)
        for line in (*dataset.files, *dataset.issues.lines()):
            log(f"  {line}")
        if dataset.typed is not None:
            reading = reading.model_copy(update={"types": dataset.typed.types})
        return cls._of_users(_in_indices_of(bundle.item_ids, dataset, log), bundle, reading)

    @classmethod
    def _of_users(
        cls, users: Iterable[tuple[str, UserHistory]], bundle: Bundle, reading: EventsInfo
    ) -> Self:
        user_ids: list[str] = []
        histories: list[History] = []
        for user_id, base in users:
            user_ids.append(user_id)
            history = merge(base, [], bundle.item_ids, reading)
            histories.append(history.collapsed(bundle.manifest.model.repeats))
        return cls(
            user_ids,
            Rows.of([history.items for history in histories]),
            Rows.of([history.disliked for history in histories]),
        )

    @property
    def n_users(self) -> int:
        """How many users there are."""
        return len(self.user_ids)

    def frames(self, n_users: int) -> Iterator[tuple[str, pl.DataFrame]]:
        """So many users at a time, as `Ranker` takes them, with a name of their place."""
        for start in range(0, self.n_users, n_users):
            stop = min(start + n_users, self.n_users)
            yield f"{start:0{_DIGITS}}-{stop - 1:0{_DIGITS}}", self.frame(start, stop)

    def frame(self, start: int, stop: int) -> pl.DataFrame:
        """Some of the users, as `Ranker` takes them."""
        return pl.DataFrame(
            [
                pl.Series(USER_ID, self.user_ids[start:stop], dtype=pl.String),
                self.history.part(HISTORY, start, stop),
                self.disliked.part(DISLIKED, start, stop),
            ]
        )


def _choices_of(bundle: Bundle) -> DataConfig:
    """Types of interactions that the bundle was built of; repeats are collapsed by user later."""
    recipe = bundle.manifest.configuration.get("recipe") or {}
    return DataConfig(event_types=recipe.get("data", {}).get("event_types"))


def _in_indices_of(
    item_ids: IdMap, dataset: Dataset, log: Log
) -> Iterable[tuple[str, UserHistory]]:
    """All interactions of each user, without those whose items are not of the map."""
    typed = dataset.typed
    interactions = dataset.interactions if typed is None else typed.interactions
    index_of = [item_ids.index_of(item_id) or 0 for item_id in interactions.item_ids.ids]
    items = np.array([0, *index_of], dtype=np.int32)[interactions.items]
    if n_unknown := int(np.count_nonzero(items == 0)):
        log(f"  {n_unknown:,} of {len(items):,} interactions left out: items not in the bundle")
    for row, user_id in enumerate(interactions.user_ids):
        span = slice(int(interactions.offsets[row]), int(interactions.offsets[row + 1]))
        known = items[span] > 0
        kinds = None if typed is None else typed.kinds[span][known]
        yield user_id, UserHistory(items[span][known], interactions.timestamps[span][known], kinds)
