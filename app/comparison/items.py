"""What a report tells about recommended items: titles, how popular they are, how old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.model.model import Model
from model_store.attributes import AttributeValue, ItemAttributes
from model_store.id_map import IdMap

AGE_ATTRIBUTES = ("year", "release_year", "created", "created_at", "release_date")
"""The first of these that both catalogues have tells how old items are."""
TITLE = "title"


@dataclass(frozen=True)
class Items:
    """The items of a version.

    Attributes:
        popularity_ranks: int64 [N], 1 for the most popular, ties to the lower item_index.
    """

    ids: IdMap
    attributes: ItemAttributes
    popularity_ranks: npt.NDArray[np.int64]

    @classmethod
    def of(cls, model: Model) -> Items:
        """Those of a loaded version, with its fresh items."""
        ranks = np.empty(len(model.ids), dtype=np.int64)
        ranks[model.popularity.order - 1] = np.arange(1, len(model.ids) + 1)
        return cls(model.ids, model.attributes, ranks)

    def popularity_of(self, item_ids: Sequence[str]) -> list[int]:
        """Popularity ranks of the known ones among some items."""
        found = (self.ids.index_of(item_id) for item_id in item_ids)
        return [int(self.popularity_ranks[index - 1]) for index in found if index is not None]

    def ages_of(self, item_ids: Sequence[str], attribute: str) -> list[float]:
        """Values of an attribute that tells the age of items, as numbers; without missing ones."""
        column = self.attributes.get(attribute)
        if column is None:
            return []
        found = (self.ids.index_of(item_id) for item_id in item_ids)
        ages = (_as_age(column.value_of(index)) for index in found if index is not None)
        return [age for age in ages if age is not None]

    def titles_of(self, item_ids: Sequence[str]) -> Mapping[str, str]:
        """Titles by item id; items without one are left out."""
        column = self.attributes.get(TITLE)
        titles = {}
        for item_id in item_ids:
            index = self.ids.index_of(item_id)
            title = column.value_of(index) if column and index is not None else None
            if isinstance(title, str):
                titles[item_id] = title
        return titles


def age_attribute(a: Items, b: Items) -> str | None:
    """The attribute that tells the age of items in both versions, None where there is none."""
    for name in AGE_ATTRIBUTES:
        columns = [items.attributes.get(name) for items in (a, b)]
        if all(column is not None and column.kind in ("number", "text") for column in columns):
            return name
    return None


def _as_age(value: AttributeValue) -> float | None:
    """A number as it is, of a date as text its year."""
    if isinstance(value, str):
        year = value.strip()[:4]
        return float(year) if len(year) == 4 and year.isascii() and year.isdigit() else None
    return float(value) if isinstance(value, int | float) else None
