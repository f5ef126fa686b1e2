"""Moves events from the store's log into an archive."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis

from model_store.errors import StoreError
from model_store.event_log import GROUP, decode_entry, log_keys
from model_store.forgotten import digest_of_user, read_forgotten
from model_store.store import store_errors
from offline.event_archive.archive import EventArchive, Logged

log = logging.getLogger(__name__)

ENTRIES_AT_ONCE = 5_000
"""Of each stream: what is in memory at a time, and in a file."""
UNREADABLE = "unreadable.jsonl"
_CONSUMER = "archive"
_PENDING, _NEW = "0", ">"

Entries = Sequence[tuple[bytes, Mapping[bytes, bytes] | None]]


@dataclass
class Moved:
    """What became of entries of the log.

    Attributes:
        n_events: that are in the archive now.
        n_repeats: that were there before.
        n_forgotten: of persons who were forgotten since, in the log or in the archive.
        n_unreadable: entries that are none, kept in a file of the archive.
    """

    n_events: int = 0
    n_repeats: int = 0
    n_forgotten: int = 0
    n_unreadable: int = 0


def archive_events(
    client: redis.Redis,
    archive: EventArchive,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Moved:
    """Move all that is in the log, and apply who was forgotten.

    An entry leaves the log after its events are on the disk: whenever this or the store is killed,
    none is lost, and the archive leaves out what comes again.

    Args:
        client: of the store.
        archive: locked by the caller.
        on_progress: called with the number of further events that were read.

    Raises:
        StoreAway: the store can't be reached.
        InputError: the archive can't be written.
    """
    forgotten = read_forgotten(client)
    moved = Moved(n_forgotten=archive.forget(forgotten))
    starts = dict.fromkeys(log_keys(), _PENDING)
    for key in starts:
        _make_group(key, client)
    while starts:
        taken: dict[str, Entries] = {}
        for key, start in list(starts.items()):
            taken[key] = _read(key, start, client)
            if start == _PENDING and not taken[key]:
                starts[key] = _NEW
            elif start == _NEW and len(taken[key]) < ENTRIES_AT_ONCE:
                del starts[key]  # what comes from now on is for the next time
        logged = _decode_all(taken, archive.folder, moved)
        on_progress(len(logged))
        _keep(logged, forgotten, archive, moved)
        for key, entries in taken.items():
            if entries:
                _remove(key, [entry_id for entry_id, _ in entries], client)
    return moved


def _keep(
    logged: Sequence[Logged], forgotten: Mapping[bytes, float], archive: EventArchive, moved: Moved
) -> None:
    ends = {one.user_id: forgotten.get(digest_of_user(one.user_id), -1.0) for one in logged}
    wanted = [one for one in logged if one.event.timestamp > ends[one.user_id]]
    n_new = archive.add(wanted)
    moved.n_events += n_new
    moved.n_repeats += len(wanted) - n_new
    moved.n_forgotten += len(logged) - len(wanted)


def _decode_all(taken: Mapping[str, Entries], folder: Path, moved: Moved) -> list[Logged]:
    logged: list[Logged] = []
    for key, entries in taken.items():
        for entry_id, fields in entries:
            if not fields:
                continue  # removed since it was read: of a person who was forgotten
            try:
                user_id, events = decode_entry(fields)
            except StoreError as error:
                log.warning("%s, entry %s: %s; kept in %s", key, entry_id, error, UNREADABLE)
                _set_aside(folder / UNREADABLE, key, entry_id, fields)
                moved.n_unreadable += 1
            else:
                logged += (Logged(user_id, event, arrived_us) for arrived_us, event in events)
    return logged


def _set_aside(path: Path, key: str, entry_id: bytes, fields: Mapping[bytes, bytes]) -> None:
    found = {name.hex(): base64.b64encode(value).decode() for name, value in fields.items()}
    with path.open("a") as file:
        file.write(json.dumps({"stream": key, "entry": entry_id.decode(), "fields": found}) + "\n")


def _make_group(key: str, client: redis.Redis) -> None:
    try:
        with store_errors():
            client.xgroup_create(key, GROUP, id="0", mkstream=True)
    except StoreError as error:
        if "BUSYGROUP" not in str(error):
            raise


def _read(key: str, start: str, client: redis.Redis) -> Entries:
    with store_errors():
        found: Any = client.xreadgroup(GROUP, _CONSUMER, {key: start}, count=ENTRIES_AT_ONCE)
    [(_, entries)] = found or [(key, [])]
    return cast(Entries, entries)


def _remove(key: str, entry_ids: Sequence[bytes], client: redis.Redis) -> None:
    with store_errors():
        client.xack(key, GROUP, *entry_ids)
        client.xdel(key, *entry_ids)
