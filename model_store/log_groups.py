"""Groups of readers of a log: each gets all entries, and an entry goes once every group has it.

The archive is a group, and so is each Kafka topic that entries are sent to. A group that nobody
reads for any more has to be removed: until then entries wait for it, up to the log's limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis

from model_store.errors import StoreError
from model_store.store import store_errors

PENDING, NEW = "0", ">"
"""Where to read from: what was read and not acknowledged, and what nobody of the group has read."""
# One at a time reads for a group, so that the next one finds what a killed one had read.
_READER = "archive"

Entries = Sequence[tuple[bytes, Mapping[bytes, bytes] | None]]
_Place = tuple[int, int]


def make_group(key: str, group: str, client: redis.Redis) -> None:
    """Have a stream keep its entries for a group, from the oldest on that is there.

    Raises:
        StoreAway: the store can't be reached.
    """
    try:
        with store_errors():
            client.xgroup_create(key, group, id="0", mkstream=True)
    except StoreError as error:
        if "BUSYGROUP" not in str(error):
            raise


def read_group(key: str, group: str, start: str, at_most: int, client: redis.Redis) -> Entries:
    """The next entries of a stream, oldest first; without fields where one was removed since.

    Args:
        key: of the stream.
        group: that was made.
        start: PENDING or NEW.
        at_most: number of entries.
        client: of the store.

    Raises:
        StoreAway: the store can't be reached.
    """
    with store_errors():
        found: Any = client.xreadgroup(group, _READER, {key: start}, count=at_most)
    [(_, entries)] = found or [(key, [])]
    return cast(Entries, entries)


def acknowledge(key: str, group: str, entry_ids: Sequence[bytes], client: redis.Redis) -> None:
    """Note that a group has entries; those that all groups have leave the stream.

    Raises:
        StoreAway: the store can't be reached.
    """
    with store_errors():
        client.xack(key, group, *entry_ids)
    remove_read(key, client)


def remove_group(key: str, group: str, client: redis.Redis) -> bool:
    """Have a stream keep nothing for a group any more; returns whether there was such a group.

    Raises:
        StoreAway: the store can't be reached.
    """
    with store_errors():
        if not client.exists(key):
            return False
        there = bool(client.xgroup_destroy(key, group))
    remove_read(key, client)
    return there


def remove_read(key: str, client: redis.Redis) -> None:
    """Remove the entries of a stream that all its groups have; without a group, none.

    What a group has only grows, so it does no harm if one goes on meanwhile: whichever
    acknowledges last finds that the others have it too.

    Raises:
        StoreAway: the store can't be reached.
    """
    with store_errors():
        groups = client.xinfo_groups(key)
        if not groups:
            return
        at_ms, number = min(_first_unread(key, group, client) for group in groups)
        if (at_ms, number) > (0, 0):
            client.xtrim(key, minid=f"{at_ms}-{number}", approximate=False)


def _first_unread(key: str, group: Mapping[str, Any], client: redis.Redis) -> _Place:
    """The first place in a stream that a group may not have yet."""
    if group["pending"]:
        oldest = cast(Mapping[str, Any], client.xpending(key, group["name"]))["min"]
        if oldest is not None:  # all of it may have been acknowledged since
            return _place(oldest)
    at_ms, number = _place(group["last-delivered-id"])
    return (at_ms, number + 1) if (at_ms, number) > (0, 0) else (0, 0)


def _place(entry_id: bytes | str) -> _Place:
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    at_ms, _, number = text.partition("-")
    return int(at_ms), int(number)
