"""Changes of the catalogue: attributes and availability of items, kept by item for all versions.

What an operator says of an item outlives versions: whoever loads one reads all changes. A sorted
set numbers the changed items by their newest change, so that a running service reads what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
from pydantic import BaseModel, ConfigDict, ValidationError

from model_store import keys
from model_store.attributes import AttributeValue, ItemAttributes
from model_store.errors import InvalidField, StoreError
from model_store.store import store_errors

_BATCH = 500
_ATTEMPTS = 20

# A number is the store's time in microseconds, or one more than the newest: it grows also after
# the store was emptied. A state that another writer changed meanwhile is left, and its item named.
WRITE = """
local states, order = KEYS[1], KEYS[2]
local now = redis.call('TIME')
local number = now[1] * 1000000 + now[2]
local newest = redis.call('ZREVRANGE', order, 0, 0, 'WITHSCORES')[2]
if newest then number = math.max(number, newest + 1) end
local left = {}
for place = 1, #ARGV, 3 do
  local item, before, after = ARGV[place], ARGV[place + 1], ARGV[place + 2]
  if (redis.call('HGET', states, item) or '') == before then
    redis.call('HSET', states, item, after)
    redis.call('ZADD', order, string.format('%.0f', number), item)
    number = number + 1
  else
    left[#left + 1] = item
  end
end
return left
"""


class ItemState(BaseModel):
    """What was said of an item so far; what wasn't is as in the bundle."""

    model_config = ConfigDict(frozen=True)

    available: bool | None = None
    attributes: Mapping[str, AttributeValue] = {}

    def changed(self, change: ItemChange) -> ItemState:
        """The state after a change."""
        return ItemState(
            available=self.available if change.available is None else change.available,
            attributes={**self.attributes, **change.attributes},
        )


@dataclass(frozen=True)
class ItemChange:
    """What an operator says of an item.

    Attributes:
        item_id: of a known item.
        available: whether it may be recommended; None leaves that as it is.
        attributes: their new values by name; None: the item has none.
    """

    item_id: str
    available: bool | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


def check_changes(
    changes: Sequence[ItemChange], item_ids: Container[str], attributes: ItemAttributes
) -> None:
    """Check changes against a version.

    Args:
        changes: of one call.
        item_ids: the version's.
        attributes: of all its items.

    Raises:
        InvalidField: an item or an attribute is unknown, or a value is of another kind.
    """
    for place, change in enumerate(changes):
        if change.item_id not in item_ids:
            raise InvalidField(f"items[{place}].item_id", change.item_id, "unknown item")
        for name, value in change.attributes.items():
            if fault := attributes.find_fault(name, value):
                raise InvalidField(f"items[{place}].attributes.{name:.100}", value, fault)


def read_state(document: bytes | None) -> ItemState:
    """The state in a document of the store; one that nothing was said of, where there is none.

    Raises:
        StoreError: the document is damaged.
    """
    if document is None:
        return ItemState()
    try:
        return ItemState.model_validate_json(document)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]["msg"]
        raise StoreError(f"not readable as the state of an item: {fault}") from error


def read_states(item_ids: Sequence[str], client: redis.Redis) -> dict[str, ItemState]:
    """The states of items of which something was said.

    Raises:
        StoreAway: the store can't be reached.
        StoreError: a state is damaged.
    """
    states: dict[str, ItemState] = {}
    with store_errors():
        for start in range(0, len(item_ids), _BATCH):
            some = item_ids[start : start + _BATCH]
            for item_id, document in zip(some, _documents(some, client), strict=True):
                if document is not None:
                    states[item_id] = read_state(document)
    return states


def write_changes(changes: Sequence[ItemChange], client: redis.Redis) -> int:
    """Keep changes, for all versions and services; those of an item in their order.

    Args:
        changes: checked already.
        client: of the store.

    Returns:
        The number of items of which something new was said.

    Raises:
        StoreAway: the store can't be reached; some of the changes may have been kept.
        StoreError: the store rejects them, or holds a damaged state.
    """
    by_item: dict[str, list[ItemChange]] = {}
    for change in changes:
        by_item.setdefault(change.item_id, []).append(change)
    ids = list(by_item)
    with store_errors():
        script = client.register_script(WRITE)
        return sum(
            _write({one: by_item[one] for one in ids[start : start + _BATCH]}, client, script)
            for start in range(0, len(ids), _BATCH)
        )


def _write(
    by_item: Mapping[str, Sequence[ItemChange]], client: redis.Redis, script: Callable[..., Any]
) -> int:
    left, n_changed = list(by_item), 0
    for _ in range(_ATTEMPTS):
        arguments: list[str | bytes] = []
        for item_id, before in zip(left, _documents(left, client), strict=True):
            state = old = read_state(before)
            for change in by_item[item_id]:
                state = state.changed(change)
            if state != old:
                arguments += (item_id, before or b"", state.model_dump_json().encode())
        if not arguments:
            return n_changed
        found = script(keys=[keys.ITEM_STATES, keys.ITEM_CHANGES], args=arguments)
        left = [one.decode() for one in found]
        n_changed += len(arguments) // 3 - len(left)
        if not left:
            return n_changed
    raise StoreError(f"item {left[0]!r} is being changed by others all the time")


def _documents(item_ids: Sequence[str], client: redis.Redis) -> list[bytes | None]:
    return client.hmget(keys.ITEM_STATES, item_ids)  # type: ignore[return-value]
