"""Changes of a catalogue from a file: known items get what is new about them, new ones appear."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

import redis

from model_store.attributes import AttributeValue, ItemAttributes
from model_store.bundle import Bundle
from model_store.errors import InputError
from model_store.fresh_items import find_new, read_fresh
from model_store.id_map import IdMap
from model_store.item_changes import ItemChange, read_states, write_changes
from model_store.placing import Report
from offline.data.namings import FileNaming
from offline.fresh_items import (
    Log,
    active_bundle,
    add_new,
    choices_of,
    read_items,
    why_none_are_taken,
)

AVAILABLE = "available"
"""A column of this name withdraws items, and lets them come back."""


@dataclass(frozen=True)
class Published:
    """What became of a file's items.

    Attributes:
        new: how many were new to each version that can take new ones.
        n_changed: known ones of which something new was said.
        n_unchanged: known ones that were like this already.
    """

    new: Mapping[str, int]
    n_changed: int
    n_unchanged: int


def publish_items(
    items: Path,
    client: redis.Redis,
    *,
    naming: FileNaming | None = None,
    generate: bool = False,
    log: Log = print,
    report: Report | None = None,
) -> Published:
    """Read a catalogue file, change the items that the active version has, and add the others.

    An empty cell leaves an attribute as it is. New items appear as `add_fresh_items` adds them.

    Args:
        items: the file; a column `available` says which items may be recommended.
        client, naming, generate, log, report: as for `add_fresh_items`.

    Raises:
        InputError: the file can't be used, a value is not of its attribute's kind, no version is
            active, or the active one can't take new items, of which there are some.
        ConfigError: items are new, and `generate` with a recipe that has no language model.
        StoreAway: the store can't be reached.
    """
    bundle = active_bundle(client)
    ids, attributes = read_items(
        items, naming, bundle.attributes, log, further={AVAILABLE: "boolean"}
    )
    catalogue = _Catalogue.read(bundle, client)
    unknown = [item_id for item_id in ids.ids if item_id not in catalogue.ids]
    fault = why_none_are_taken(bundle)
    if unknown and fault:
        raise InputError(
            f"{fault}: {items} has {len(unknown):,} that it doesn't know, the first is "
            f"{unknown[0]!r}"
        )
    if fault is None and _are_some_new(ids, bundle, client):
        choices_of(bundle, generate=generate)  # before anything is written
    changes = _find_changes(ids, attributes, catalogue, client)
    n_known = len(ids) - len(unknown)
    n_changed = sum(change.item_id in catalogue.ids for change in changes)
    write_changes(changes, client)
    new: Mapping[str, int] = {}
    if fault is None:
        own = [attributes.get(name) for name in attributes.names if name != AVAILABLE]
        of_items = ItemAttributes([one for one in own if one is not None], len(ids))
        new = add_new(
            ids, of_items, bundle, client, path=items, generate=generate, log=log, report=report
        )
    return Published(new, n_changed, n_known - n_changed)


def _are_some_new(ids: IdMap, bundle: Bundle, client: redis.Redis) -> bool:
    """Whether a published version lacks an item, which alone needs the recipe."""
    assert bundle.manifest.encoder is not None  # noqa: S101 - it takes new items
    return any(find_new(ids.ids, client, encoder=bundle.manifest.encoder.name).values())


@dataclass(frozen=True)
class _Catalogue:
    """The items of a version: those of its bundle, and its fresh ones with their attributes."""

    bundle: Bundle
    fresh: Mapping[str, Mapping[str, object]]

    @classmethod
    def read(cls, bundle: Bundle, client: redis.Redis) -> _Catalogue:
        encoder = bundle.manifest.encoder
        found = read_fresh(bundle.version, encoder.vector_size, client) if encoder else []
        return cls(bundle, {item.item_id: item.attributes for item in found})

    @property
    def ids(self) -> Container[str]:
        return {*self.bundle.item_ids.ids, *self.fresh}

    def value_of(self, item_id: str, name: str) -> object:
        index = self.bundle.item_ids.index_of(item_id)
        if index is None:
            return self.fresh[item_id].get(name)
        attribute = self.bundle.attributes.get(name)
        return attribute.value_of(index) if attribute else None


def _find_changes(
    ids: IdMap, attributes: ItemAttributes, catalogue: _Catalogue, client: redis.Redis
) -> list[ItemChange]:
    """What the file says that is not so yet; of new items, whether they are available."""
    states = read_states(ids.ids, client)
    known = catalogue.ids
    changes = []
    for row, item_id in enumerate(ids.ids, start=1):
        values = attributes.row(row)
        said = values.pop(AVAILABLE, None)
        state = states.get(item_id)
        was = state.available if state else None
        available = bool(said) if said is not None and said != (was is not False) else None
        news: dict[str, AttributeValue] = {}
        if item_id in known:
            kept = state.attributes if state else {}
            for name, value in values.items():
                before = kept[name] if name in kept else catalogue.value_of(item_id, name)
                if value is not None and value != before:
                    news[name] = value
        if news or available is not None:
            changes.append(ItemChange(item_id, available, news))
    return changes
