"""A data set as the offline path uses it: interactions, item attributes, issues, readings."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from model_store.attributes import ItemAttributes
from model_store.errors import BundleError, InputError
from model_store.files import write_atomically
from model_store.id_map import IdMap
from offline.data.catalogue import Catalogue, read_catalogue
from offline.data.column_readings import ColumnReading, load_readings, save_readings
from offline.data.event_meaning import TypedInteractions
from offline.data.event_types import EventTypes
from offline.data.interaction_rows import InteractionRows, read_interaction_rows
from offline.data.interactions import Interactions
from offline.data.issues import MAX_EXAMPLES, IssueKind, Issues
from offline.data.joined_rows import join_rows
from offline.data.namings import AS_FOUND, Naming
from offline.data.sources import open_archive, open_sources

SUMMARY, TYPED = "dataset.json", "typed"


@dataclass(frozen=True)
class Dataset:
    """Interactions, item attributes aligned with item_index, and what the input's files held.

    Attributes:
        interactions: of all users.
        attributes: of all items, those that only interactions name too.
        issues: of rows and columns.
        readings: what each column was taken for: the catalogue's first, in the files' order.
        n_catalogued: items of the catalogue, which are numbered first; 0: there is none.
        files: which files were read and in which form, one line each, for people.
        event_types: of the interactions; None where the file names none, and once saved.
        typed: all interactions, where some are not positive, or are of other types than the usual
            one; None: `interactions` are all, and are positive.
    """

    interactions: Interactions
    attributes: ItemAttributes
    issues: Issues
    readings: tuple[ColumnReading, ...] = ()
    n_catalogued: int = 0
    files: tuple[str, ...] = ()
    event_types: EventTypes | None = None
    typed: TypedInteractions | None = None

    def save(self, folder: Path) -> None:
        """Write as `.npy` and `.json` files."""
        self.interactions.save(folder)
        shutil.rmtree(folder / TYPED, ignore_errors=True)
        if self.typed is not None:
            self.typed.save(folder / TYPED)
        self.attributes.save(folder / "attributes.json")
        self.issues.save(folder / "issues.json")
        save_readings(self.readings, folder / "readings.json")
        summary = {"catalogued_items": self.n_catalogued, "files": self.files}
        write_atomically(folder / SUMMARY, json.dumps(summary, ensure_ascii=False).encode())

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
        return cls(
            Interactions.load(folder),
            attributes,
            Issues.load(folder / "issues.json"),
            load_readings(folder / "readings.json"),
            *_load_summary(folder / SUMMARY),
            typed=TypedInteractions.load(folder / TYPED) if (folder / TYPED).is_dir() else None,
        )


def _load_summary(path: Path) -> tuple[int, tuple[str, ...]]:
    try:
        summary = json.loads(path.read_bytes())
        return int(summary["catalogued_items"]), tuple(map(str, summary["files"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not a readable summary ({error})") from error


def read_dataset(
    interactions: Path,
    items: Path | None = None,
    naming: Naming | None = None,
    events: Path | None = None,
) -> Dataset:
    """Read a data set from CSV, Parquet, MovieLens or RecBole files.

    `interactions` is a file or a folder of its parts, or a folder that also holds the items where
    `items` isn't given. `naming` is what a person said about columns and headers.
    `events` is an archive of `longtail events archive`, whose interactions are joined to these.
    Items are numbered in the catalogue's order, then those that only interactions name by first
    appearance; users by first appearance. Bad rows are dropped and reported as issues.

    Raises:
        InputError: a file can't be used; the message is one line.
    """
    naming = naming or AS_FOUND
    interactions_source, items_source = open_sources(interactions, items, naming)
    issues = Issues()
    catalogue = Catalogue([], ItemAttributes([], n_items=0))
    if items_source is not None:
        catalogue = read_catalogue(
            items_source.table, items_source.columns, issues, naming.items.kinds
        )
    table = interactions_source.table
    rows = read_interaction_rows(
        table, interactions_source.columns, issues, day_first=naming.interactions.day_first
    )
    archived = None if events is None else open_archive(events)
    if archived is not None:
        later = read_interaction_rows(archived.table, archived.columns, issues)
        rows = join_rows(rows, later, archived.table.path.name, issues)
    rows = replace(rows, item_ids=_as_composed_in(catalogue.item_ids, rows.item_ids))
    catalogued = set(catalogue.item_ids)
    unseen = [item_id for item_id in rows.item_ids if item_id not in catalogued]
    if items_source is not None:
        _report_unseen(rows, unseen, table.path.name, issues)
    item_ids = IdMap([*catalogue.item_ids, *unseen])
    if catalogued:
        item_index, _ = item_ids.indices(rows.item_ids)
    else:  # both are numbered alike
        item_index = np.arange(1, len(rows.item_ids) + 1, dtype=np.int32)
    return Dataset(
        Interactions.from_ordered(
            rows.user_ids,
            item_ids,
            rows.users,
            item_index[rows.items],
            rows.timestamps,
            rows.ratings,
        ),
        catalogue.attributes.extended([{}] * len(unseen)),
        issues,
        (*catalogue.readings, *rows.readings),
        len(catalogue.item_ids),
        tuple(
            f"{what}: {source}"
            for what, source in (
                ("interactions", interactions_source),
                ("events", archived),
                ("items", items_source),
            )
            if source is not None
        ),
        rows.event_types,
    )


def _as_composed_in(catalogued: Sequence[str], named: list[str]) -> list[str]:
    """Ids of interactions, composed of letters and accents as the catalogue's equal ones are.

    Unicode has two ways to write "é", which look alike and are the same text. Where two ids of
    either file differ in nothing else, they stay apart.
    """
    if "".join(named).isascii():
        return named
    others = [item_id for item_id in set(named).difference(catalogued) if not item_id.isascii()]
    if not others:
        return named
    of_form: dict[str, list[str]] = {}
    for item_id in (*others, *(i for i in catalogued if not i.isascii())):
        of_form.setdefault(unicodedata.normalize("NFC", item_id), []).append(item_id)
    partner = {pair[0]: pair[1] for pair in of_form.values() if len(pair) == 2}
    known = set(catalogued)
    return [partner[i] if i in partner and partner[i] in known else i for i in named]


def _report_unseen(rows: InteractionRows, unseen: list[str], file: str, issues: Issues) -> None:
    """Report interactions with items that the catalogue lacks; they are kept."""
    numbers = {item_id: number for number, item_id in enumerate(rows.item_ids)}
    is_unseen = np.zeros(len(rows.item_ids), dtype=bool)
    is_unseen[[numbers[item_id] for item_id in unseen]] = True
    n_interactions = int(is_unseen[rows.items].sum())
    examples = [f"item {item_id[:60]!r}" for item_id in unseen[:MAX_EXAMPLES]]
    issues.add(file, IssueKind.ITEM_NOT_IN_CATALOGUE, n_interactions, examples)
