"""A data set as the offline path uses it: interactions, item attributes, issues."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_store.attributes import ItemAttributes
from model_store.errors import BundleError, InputError
from model_store.id_map import IdMap
from offline.data.catalogue import Catalogue, read_catalogue
from offline.data.interaction_rows import InteractionRows, read_interaction_rows
from offline.data.interactions import Interactions
from offline.data.issues import MAX_EXAMPLES, IssueKind, Issues
from offline.data.sources import open_sources


@dataclass(frozen=True)
class Dataset:
    """Interactions, item attributes aligned with item_index, and the issues of the input's rows."""

    interactions: Interactions
    attributes: ItemAttributes
    issues: Issues

    def save(self, folder: Path) -> None:
        """Write as `.npy` and `.json` files."""
        self.interactions.save(folder)
        self.attributes.save(folder / "attributes.json")
        self.issues.save(folder / "issues.json")

    @classmethod
    def load(cls, folder: Path) -> Dataset:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        try:
            attributes = ItemAttributes.load(folder / "attributes.json")
        except BundleError as error:
            raise InputError(str(error)) from error
        return cls(Interactions.load(folder), attributes, Issues.load(folder / "issues.json"))


def read_dataset(interactions: Path, items: Path | None = None) -> Dataset:
    """Read a data set from CSV, Parquet, MovieLens or RecBole files.

    `interactions` is a file, or a folder that also holds the items where `items` isn't given.
    Items are numbered in the catalogue's order, then those that only interactions name by first
    appearance; users by first appearance. Bad rows are dropped and reported as issues.

    Raises:
        InputError: a file can't be used; the message is one line.
    """
    interactions_source, items_source = open_sources(interactions, items)
    issues = Issues()
    catalogue = Catalogue([], ItemAttributes([], n_items=0))
    if items_source is not None:
        catalogue = read_catalogue(items_source.table, items_source.columns, issues)
    table = interactions_source.table
    rows = read_interaction_rows(table, interactions_source.columns, issues)

    catalogued = set(catalogue.item_ids)
    unseen = [item_id for item_id in rows.item_ids if item_id not in catalogued]
    if items_source is not None:
        _report_unseen(rows, unseen, table.path.name, issues)
    item_ids = IdMap([*catalogue.item_ids, *unseen])
    item_index, _ = item_ids.indices(rows.item_ids)
    return Dataset(
        Interactions.from_rows(
            rows.user_ids,
            item_ids,
            rows.users,
            item_index[rows.items],
            rows.timestamps,
            rows.ratings,
        ),
        catalogue.attributes.extended([{} for _ in unseen]),
        issues,
    )


def _report_unseen(rows: InteractionRows, unseen: list[str], file: str, issues: Issues) -> None:
    """Report interactions with items that the catalogue lacks; they are kept."""
    numbers = {item_id: number for number, item_id in enumerate(rows.item_ids)}
    is_unseen = np.zeros(len(rows.item_ids), dtype=bool)
    is_unseen[[numbers[item_id] for item_id in unseen]] = True
    n_interactions = int(is_unseen[rows.items].sum())
    examples = [f"item {item_id[:60]!r}" for item_id in unseen[:MAX_EXAMPLES]]
    issues.add(file, IssueKind.ITEM_NOT_IN_CATALOGUE, n_interactions, examples)
