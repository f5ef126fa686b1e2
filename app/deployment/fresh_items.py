"""Fresh items: their knowledge vectors arrived in the store after the model was trained."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from app.deployment.item_changes import follow_changes
from app.model.background import BackgroundThread
from app.model.model import Model
from app.store.versions import StoredItem, VersionStore
from model_store.array_checks import MAX_WEIGHT
from model_store.attributes import Attribute, ItemAttributes
from model_store.codecs import decode_vector
from model_store.errors import StoreError
from model_store.fresh_items import FreshItem
from model_store.knowledge_texts import KnowledgeText

log = logging.getLogger(__name__)


async def with_fresh_items(
    model: Model, found: Sequence[StoredItem], n_read: int, thread: BackgroundThread
) -> Model:
    """The model with fresh items of its version.

    Unusable items are logged and left out: one bad vector keeps no other item away.

    Args:
        model: to be extended.
        found: the store's data of the items, at least one.
        n_read: number of entries of the list of fresh items up to the last of them.
        thread: for long work: the table is copied and the filter index built again.
    """
    return await thread.run(lambda: _extend(model, found, n_read))


async def with_stored_items(
    model: Model, versions: VersionStore, thread: BackgroundThread
) -> Model:
    """The model with all fresh items that the store holds for its version, and all changes.

    Raises:
        StoreError: the store can't be read.
    """
    fresh = await versions.fresh_ids(model.version)
    found = await versions.fresh_items(model.version, fresh.ids)
    if found:
        model = await with_fresh_items(model, found, fresh.n_read, thread)
    await follow_changes(model, versions)
    return model


def _extend(model: Model, found: Sequence[StoredItem], n_read: int) -> Model:
    items: dict[str, FreshItem] = {}
    for stored in found:
        try:
            item_id = stored.item_id.decode()
            if item_id not in model.ids:
                items[item_id] = _read_item(model, item_id, stored)
        except (StoreError, ValueError, RecursionError) as error:
            log.warning("fresh item %r can't be used: %s", stored.item_id, error)
    grown = model.extended(list(items.values())) if items else model
    return grown.with_fresh_read(n_read, found[-1].item_id)


def _read_item(model: Model, item_id: str, stored: StoredItem) -> FreshItem:
    if model.fresh_projection is None:
        raise ValueError(f"version {model.version} has no knowledge to place it by")
    if stored.vector is None:
        raise ValueError("its vector is not in the store")
    numbers = decode_vector(stored.vector, model.fresh_projection.shape[0] - 1)
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.append(numbers, np.float32(1)) @ model.fresh_projection
    if not np.all(np.abs(weights) <= MAX_WEIGHT):
        raise ValueError("its vector is too long for scores")
    values = json.loads(stored.attributes) if stored.attributes else {}
    if not isinstance(values, dict):
        raise ValueError("its attributes are no JSON object")
    attributes = _fitting(values, model.attributes, item_id)
    return FreshItem(item_id, numbers, attributes, _read_text(stored.knowledge, item_id))


def _read_text(stored: bytes | None, item_id: str) -> KnowledgeText | None:
    """The text about an item; an unusable one is logged and left out."""
    try:
        return None if stored is None else KnowledgeText.model_validate_json(stored)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]["msg"]
        log.warning("fresh item %r: its knowledge can't be used: %s", item_id, fault)
        return None


def _fitting(values: Mapping[str, Any], attributes: ItemAttributes, item_id: str) -> dict[str, Any]:
    """The values for which the catalogue has an attribute of that kind."""
    fitting = {}
    for name, value in values.items():
        attribute = attributes.get(name)
        try:
            if attribute is not None:
                Attribute(name, attribute.kind, [value])
                fitting[name] = value
        except ValueError as error:
            log.warning("fresh item %r: %s; left out", item_id, error)
    return fitting
