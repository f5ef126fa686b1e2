"""All that is said about a data set, as one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_store.attributes import AttributeValue
from model_store.rerank_prompt import item_titles
from offline.data.column_readings import ColumnReading
from offline.data.dataset import Dataset
from offline.data.issues import Issue, IssueKind
from offline.data.split import Cases
from offline.inspect.histories import Histories, measure_histories
from offline.inspect.overlap import Overlap, find_overlap
from offline.inspect.ratings import RatingCounts, count_ratings
from offline.inspect.times import Times, measure_times, written

N_SAMPLES = 5


@dataclass(frozen=True)
class Sample:
    """An interaction as it was understood."""

    user_id: str
    item_id: str
    title: str
    time: str
    rating: float | None


@dataclass(frozen=True)
class Inspection:
    """A data set as it was understood.

    Attributes:
        n_interactions, n_items: numbers that are used; items of the catalogue count too.
        readings: what each column of both files was taken for.
        issues: rows that were dropped or changed, with reasons.
        overlap: of the two files; None without a catalogue.
        times: of the interactions.
        histories: of the users.
        event_types: how many interactions each type has, most first; empty without such a column.
        kinds: how many interactions are positive, negative and context only, by type; empty where
            all are positive and of no type.
        ratings: how they are distributed; None where there are none.
        samples: a few interactions.
        items: attributes of a few items of the catalogue, by name, the id first.
    """

    n_interactions: int
    n_items: int
    readings: Sequence[ColumnReading]
    issues: Sequence[Issue]
    overlap: Overlap | None
    times: Times
    histories: Histories
    event_types: dict[str, int]
    kinds: dict[str, dict[str, int]]
    ratings: RatingCounts | None
    samples: Sequence[Sample]
    items: Sequence[dict[str, AttributeValue]]

    @property
    def files(self) -> list[str]:
        """Names of the files, in the order of their readings."""
        return list(dict.fromkeys(reading.file for reading in self.readings))

    def issue(self, kind: IssueKind) -> Issue | None:
        """The issue of a kind about the first file that has it; None where there is none."""
        return next((issue for issue in self.issues if issue.kind is kind), None)


def inspect_dataset(dataset: Dataset, test: Cases) -> Inspection:
    """Look at a data set.

    Args:
        dataset: as it was read.
        test: its test cases.
    """
    interactions = dataset.interactions
    return Inspection(
        n_interactions=len(interactions),
        n_items=interactions.n_items,
        readings=dataset.readings,
        issues=list(dataset.issues),
        overlap=find_overlap(dataset),
        times=measure_times(interactions),
        histories=measure_histories(interactions, test),
        event_types=dataset.event_types.counts() if dataset.event_types else {},
        kinds=dataset.typed.counts() if dataset.typed else {},
        ratings=count_ratings(interactions),
        samples=_samples(dataset),
        items=[
            {"item_id": interactions.item_ids.id_of(index), **dataset.attributes.row(index)}
            for index in _spread(dataset.n_catalogued, first=1)
        ],
    )


def _samples(dataset: Dataset) -> list[Sample]:
    interactions, ratings = dataset.interactions, dataset.interactions.ratings
    titles = item_titles(dataset.attributes, interactions.item_ids.ids)
    samples = []
    for row in _spread(len(interactions), first=0):
        user = int(np.searchsorted(interactions.offsets, row, side="right")) - 1
        item = int(interactions.items[row])
        samples.append(
            Sample(
                interactions.user_ids[user],
                interactions.item_ids.id_of(item),
                titles[item - 1],
                written(float(interactions.timestamps[row])),
                None if ratings is None or np.isnan(ratings[row]) else float(ratings[row]),
            )
        )
    return samples


def _spread(n: int, first: int) -> list[int]:
    """Up to five numbers from `first` to `first + n - 1`, evenly."""
    places = np.linspace(first, first + n - 1, min(n, N_SAMPLES))
    return [int(place) for place in places.round()]
