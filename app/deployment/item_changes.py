"""Changes of single items: from the store into the models of this process, in place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from app.model.model import Model
from app.store.versions import ITEMS_AT_ONCE, StoredState, VersionStore
from model_store.errors import StoreError
from model_store.item_changes import read_state

log = logging.getLogger(__name__)


async def follow_changes(model: Model, versions: VersionStore) -> None:
    """Apply all changes that the model hasn't seen.

    Raises:
        StoreError: the store can't be read.
    """
    while True:
        found = await versions.item_changes(model.availability.read_up_to)
        apply_changes(model, found)
        if found:
            model.availability.read_up_to = found[-1].number
        if len(found) < ITEMS_AT_ONCE:
            return
        await asyncio.sleep(0)  # requests first: so many take a millisecond


async def apply_stored(model: Model, ids: Sequence[bytes], versions: VersionStore) -> None:
    """Apply what was said of some items, perhaps before the model had them.

    Raises:
        StoreError: the store can't be read.
    """
    for start in range(0, len(ids), ITEMS_AT_ONCE):
        apply_changes(model, await versions.item_states(ids[start : start + ITEMS_AT_ONCE]))


def apply_changes(model: Model, found: Sequence[StoredState]) -> None:
    """Give items the attributes and the availability that were said of them.

    Items and attributes that this version doesn't have are passed over: another one has them.
    """
    are_available: dict[int, bool] = {}
    for stored in found:
        try:
            item_index = model.ids.index_of(stored.item_id.decode())
            state = read_state(stored.state)
        except (StoreError, ValueError) as error:
            log.warning("item %r: its changes can't be used: %s", stored.item_id, error)
            continue
        if item_index is None:
            continue
        if state.available is not None:
            are_available[item_index] = state.available
        for name, value in state.attributes.items():
            if model.attributes.find_fault(name, value) is None:
                model.change_attribute(item_index, name, value)
    model.availability.set(are_available)
