"""The log of events: what was accepted waits in streams until it is archived.

A stream has the events of some of the users, by a hash of their ids; an entry, what one user did in
one request. Events reach it at least once: whoever archives them leaves repeats out, by
`codecs.first_reports`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import cast
from zlib import crc32

import redis

from model_store import keys
from model_store.codecs import Event, decode_arrived
from model_store.errors import StoreError
from model_store.store import store_errors

N_SHARDS = 8
GROUP = "archive"
"""The consumer group of `longtail events archive`."""
USER = b"u"
LATEST_S = 1e11
"""Of an event's time, as the API has it."""
_AT_ONCE = 1_000

Command = tuple[str | bytes | int, ...]
Fields = Mapping[bytes, bytes]


def log_keys() -> list[str]:
    """All streams."""
    return [keys.event_log_key(shard) for shard in range(N_SHARDS)]


def shard_of(user_id: str) -> int:
    """The number of the stream with what concerns a user."""
    return crc32(user_id.encode("utf-8", "replace")) % N_SHARDS


def log_key_of(user_id: str) -> str:
    """The stream with a user's events."""
    return keys.event_log_key(shard_of(user_id))


def log_command(user_id: str, members: Sequence[bytes], max_entries: int) -> Command:
    """Append an entry with a user's events.

    Args:
        user_id: whose events they are.
        members: at least one event, in order of arrival; see `codecs.encode_all_arrived`.
        max_entries: limit on the entries of all streams together; the oldest go.
    """
    fields: list[str | bytes | int] = ["u", user_id]
    for place, member in enumerate(members):
        fields += (place, member)
    limit = max(1, max_entries // N_SHARDS)
    return ("XADD", log_key_of(user_id), "MAXLEN", "~", limit, "*", *fields)


def decode_entry(fields: Fields) -> tuple[str, list[tuple[int, Event]]]:
    """A user's id, and the events of an entry with the unix microseconds of their arrivals.

    Raises:
        StoreError: it is not an entry as `log_command` writes it.
    """
    try:
        user_id = fields[USER].decode()
        members = [fields[b"%d" % place] for place in range(len(fields) - 1)]
    except (KeyError, UnicodeDecodeError) as error:
        raise StoreError(f"entry of the event log with fields {sorted(fields)[:5]}") from error
    events = [(int.from_bytes(one[:8], "big"), decode_arrived(one)) for one in members]
    for _, event in events:
        check_time(event.timestamp)
    return user_id, events


def check_time(at_s: float) -> None:
    """Raise StoreError for a time, in unix seconds, that no service accepts or gives."""
    if not 0 <= at_s <= LATEST_S:
        raise StoreError(f"entry of a log with the time {at_s}")


def time_of(entry_id: bytes) -> float:
    """When the store took an entry, in unix seconds."""
    return int(entry_id.partition(b"-")[0]) / 1e3


def look_commands() -> list[Command]:
    """Commands for `read_look`: the length of each stream, and its first entry."""
    lengths: list[Command] = [("XLEN", key) for key in log_keys()]
    return lengths + [("XRANGE", key, "-", "+", "COUNT", 1) for key in log_keys()]


def read_look(replies: Sequence[object]) -> tuple[int, float]:
    """How many entries wait to be archived, and for how many seconds the oldest has waited."""
    lengths = cast(Sequence[int], replies[:N_SHARDS])
    firsts = cast(Sequence[Sequence[Sequence[bytes]]], replies[N_SHARDS:])
    oldest_s = min((time_of(first[0][0]) for first in firsts if first), default=None)
    return sum(lengths), 0.0 if oldest_s is None else max(0.0, time.time() - oldest_s)


def entries_of(
    key: str, client: redis.Redis, at_once: int = _AT_ONCE
) -> Iterator[tuple[bytes, Fields]]:
    """The entries of a stream of a log, with their ids.

    Raises:
        StoreAway: the store can't be reached.
    """
    after = "-"
    while True:
        with store_errors():
            found = cast(list[tuple[bytes, Fields]], client.xrange(key, after, "+", at_once))
        yield from found
        if len(found) < at_once:
            return
        after = f"({found[-1][0].decode()}"


def logged_of(user_id: str, client: redis.Redis) -> Iterator[tuple[bytes, list[Event]]]:
    """A user's entries with their ids; entries that can't be read have no events.

    Raises:
        StoreAway: the store can't be reached.
    """
    user = user_id.encode("utf-8", "replace")
    for entry_id, fields in entries_of(log_key_of(user_id), client):
        if fields.get(USER) != user:
            continue
        try:
            yield entry_id, [event for _, event in decode_entry(fields)[1]]
        except StoreError:
            yield entry_id, []


def forget_logged(user_id: str, client: redis.Redis) -> int:
    """Remove a user's entries; returns how many events they held.

    Raises:
        StoreAway: the store can't be reached.
    """
    entries = list(logged_of(user_id, client))
    if entries:
        with store_errors():
            client.xdel(log_key_of(user_id), *(entry_id for entry_id, _ in entries))
    return sum(len(events) for _, events in entries)
