"""How the items of the interactions and those of the catalogue meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.data.dataset import Dataset
from offline.inspect.near_misses import NearMiss, find_near_misses

MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Overlap:
    """The meeting of two files; there is an interaction at least.

    Attributes:
        n_catalogued: items of the catalogue.
        n_used: of them, those that have interactions.
        n_lacking: items that only interactions name.
        n_interactions: all interactions.
        n_interactions_lacking: of them, those with an item that the catalogue lacks.
        examples: a few ids that the catalogue lacks.
        near_misses: those that are nearly ids of the catalogue.
    """

    n_catalogued: int
    n_used: int
    n_lacking: int
    n_interactions: int
    n_interactions_lacking: int
    examples: tuple[str, ...]
    near_misses: tuple[NearMiss, ...]

    @property
    def n_named(self) -> int:
        """Items that interactions name."""
        return self.n_used + self.n_lacking

    @property
    def share_of_items_lacking(self) -> float:
        """Of the items that interactions name, the share that the catalogue lacks."""
        return self.n_lacking / self.n_named

    @property
    def share_of_interactions_lacking(self) -> float:
        """Share of the interactions whose item the catalogue lacks."""
        return self.n_interactions_lacking / self.n_interactions


def find_overlap(dataset: Dataset) -> Overlap | None:
    """The overlap of a data set's two files; None where there is no catalogue."""
    n_catalogued = dataset.n_catalogued
    if not n_catalogued:
        return None
    interactions = dataset.interactions
    counts = np.bincount(interactions.items, minlength=interactions.n_items + 1)
    ids = interactions.item_ids.ids
    catalogued, lacking = ids[:n_catalogued], ids[n_catalogued:]
    return Overlap(
        n_catalogued=n_catalogued,
        n_used=int((counts[1 : n_catalogued + 1] > 0).sum()),
        n_lacking=len(lacking),
        n_interactions=len(interactions),
        n_interactions_lacking=int(counts[n_catalogued + 1 :].sum()),
        examples=lacking[:MAX_EXAMPLES],
        near_misses=tuple(find_near_misses(lacking, catalogued)),
    )
