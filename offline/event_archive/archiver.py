"""Moves events and exposures from the store's logs into archives."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import redis

from model_store.errors import StoreError
from model_store.event_log import GROUP, decode_entry, log_keys, remove_entries
from model_store.exposure_log import Exposure, decode_exposure, exposure_keys
from model_store.forgotten import digest_of_user, read_forgotten
from model_store.store import store_errors
from offline.event_archive.archive import EventArchive, Logged
from offline.event_archive.day_files import DayFiles
from offline.event_archive.exposure_archive import ExposureArchive

logger = logging.getLogger(__name__)

ENTRIES_AT_ONCE = 5_000
"""Of each stream: what is in memory at a time, and in a file."""
UNREADABLE = "unreadable.jsonl"
_CONSUMER = "archive"
_PENDING, _NEW = "0", ">"

Fields = Mapping[bytes, bytes]
Entries = Sequence[tuple[bytes, Fields | None]]
Kind = TypeVar("Kind")


@dataclass
class Moved:
    """What became of a log.

    Attributes:
        n_new: events or exposures that are in the archive now.
        n_repeats: that were there before.
        n_forgotten: of persons who were forgotten since, in the log or in the archive.
        n_unreadable: entries that are none, kept in a file of the archive.
    """

    n_new: int = 0
    n_repeats: int = 0
    n_forgotten: int = 0
    n_unreadable: int = 0


@dataclass(frozen=True)
class Log(Generic[Kind]):
    """A log and its archive.

    Attributes:
        keys: the streams.
        decode: reads an entry; raises StoreError where it can't be read.
        about: whom something is about, and until when it was, in unix seconds, for `forgotten`.
        files: the archive, locked.
        add: writes what is not there yet; returns how much that is.
    """

    keys: Sequence[str]
    decode: Callable[[Fields], Sequence[Kind]]
    about: Callable[[Kind], tuple[str | None, float]]
    files: DayFiles
    add: Callable[[Sequence[Kind]], int]


def events_into(archive: EventArchive) -> Log[Logged]:
    """The log of events."""

    def decode(fields: Fields) -> list[Logged]:
        user_id, events = decode_entry(fields)
        return [Logged(user_id, event, arrived_us) for arrived_us, event in events]

    def about(one: Logged) -> tuple[str, float]:
        # As in `day_files.are_left`.
        return one.user_id, min(one.event.timestamp, one.arrived_us / 1e6)

    return Log(log_keys(), decode, about, archive, archive.add)


def exposures_into(archive: ExposureArchive) -> Log[Exposure]:
    """The log of exposures."""

    def about(shown: Exposure) -> tuple[str | None, float]:
        return shown.user_id, shown.at_s

    return Log(
        exposure_keys(), lambda fields: [decode_exposure(fields)], about, archive, archive.add
    )


def move(
    client: redis.Redis, log: Log[Kind], on_progress: Callable[[int], object] = lambda _: None
) -> Moved:
    """Move all that is in a log, and apply who was forgotten.

    An entry leaves the log after what it holds is on the disk: whenever this or the store is
    killed, nothing is lost, and the archive leaves out what comes again.

    Args:
        client: of the store.
        log: what to move, and whereto.
        on_progress: called with the number of further events or exposures that were read.

    Raises:
        StoreAway: the store can't be reached.
        InputError: the archive can't be written.
    """
    forgotten = read_forgotten(client)
    moved = Moved(n_forgotten=log.files.forget(forgotten))
    starts = dict.fromkeys(log.keys, _PENDING)
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
        found = _decode_all(taken, log, moved)
        on_progress(len(found))
        _keep(found, forgotten, log, moved)
        for key, entries in taken.items():
            if entries:
                _remove(key, [entry_id for entry_id, _ in entries], client)
    return moved


def _keep(
    found: Sequence[Kind], forgotten: Mapping[bytes, float], log: Log[Kind], moved: Moved
) -> None:
    wanted = []
    for one in found:
        user_id, at_s = log.about(one)
        until_s = None if user_id is None else forgotten.get(digest_of_user(user_id))
        if until_s is None or at_s > until_s:
            wanted.append(one)
    n_new = log.add(wanted)
    moved.n_new += n_new
    moved.n_repeats += len(wanted) - n_new
    moved.n_forgotten += len(found) - len(wanted)


def _decode_all(taken: Mapping[str, Entries], log: Log[Kind], moved: Moved) -> list[Kind]:
    found: list[Kind] = []
    for key, entries in taken.items():
        for entry_id, fields in entries:
            if not fields:
                continue  # removed since it was read: of a person who was forgotten
            try:
                found += log.decode(fields)
            except StoreError as error:
                logger.warning("%s, entry %s: %s; kept in %s", key, entry_id, error, UNREADABLE)
                _set_aside(log.files.folder / UNREADABLE, key, entry_id, fields)
                moved.n_unreadable += 1
    return found


def _set_aside(path: Path, key: str, entry_id: bytes, fields: Mapping[bytes, bytes]) -> None:
    found = {name.hex(): base64.b64encode(value).decode() for name, value in fields.items()}
    with path.open("a") as file:
        file.write(json.dumps({"stream": key, "entry": entry_id.decode(), "fields": found}) + "\n")
        file.flush()
        os.fsync(file.fileno())  # the entry leaves the store next


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
    remove_entries(key, entry_ids, client)
