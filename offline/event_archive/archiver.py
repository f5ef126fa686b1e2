"""Moves events and exposures from the store's logs into archives, or to wherever they are to go."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import redis

from model_store.errors import StoreError
from model_store.event_log import GROUP, decode_entry, log_keys
from model_store.exposure_log import Exposure, decode_exposures, exposure_keys
from model_store.forgotten import digest_of_user, read_forgotten
from model_store.log_groups import NEW, PENDING, Entries, acknowledge, make_group, read_group
from offline.event_archive.archive import EventArchive, Logged
from offline.event_archive.exposure_archive import ExposureArchive

logger = logging.getLogger(__name__)

ENTRIES_AT_ONCE, SHOWN_AT_ONCE = 5_000, 100
"""Entries of events and of exposures of each stream: what is in memory at a time, and in a file.
One of exposures holds up to 500."""
UNREADABLE = "unreadable.jsonl"

Fields = Mapping[bytes, bytes]
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
    """A log, and where it goes.

    Attributes:
        keys: the streams.
        group: of readers, whose entries these are.
        decode: reads an entry; raises StoreError where it can't be read.
        about: whom something is about, and until when it was, in unix seconds, for `forgotten`.
        add: keeps it for good, but for what is there; returns how much is new.
        forget: removes what people did before they were forgotten; returns how much it was.
        unreadable: file for entries that can't be read.
        at_once: entries of each stream that are read at a time.
    """

    keys: Sequence[str]
    group: str
    decode: Callable[[Fields], Sequence[Kind]]
    about: Callable[[Kind], tuple[str | None, float]]
    add: Callable[[Sequence[Kind]], int]
    forget: Callable[[Mapping[bytes, float]], int]
    unreadable: Path
    at_once: int


def events_into(archive: EventArchive) -> Log[Logged]:
    """The log of events, on its way into a locked archive."""
    unreadable = archive.folder / UNREADABLE
    return events_to(GROUP, archive.add, archive.forget, unreadable)


def exposures_into(archive: ExposureArchive) -> Log[Exposure]:
    """The log of exposures, on its way into a locked archive."""
    unreadable = archive.folder / UNREADABLE
    return exposures_to(GROUP, archive.add, archive.forget, unreadable)


def events_to(
    group: str,
    add: Callable[[Sequence[Logged]], int],
    forget: Callable[[Mapping[bytes, float]], int],
    unreadable: Path,
) -> Log[Logged]:
    """The log of events; arguments as of `Log`."""

    def decode(fields: Fields) -> list[Logged]:
        user_id, events = decode_entry(fields)
        return [Logged(user_id, event, arrived_us) for arrived_us, event in events]

    def about(one: Logged) -> tuple[str, float]:
        # As in `day_files.are_left`.
        return one.user_id, min(one.event.timestamp, one.arrived_us / 1e6)

    return Log(log_keys(), group, decode, about, add, forget, unreadable, ENTRIES_AT_ONCE)


def exposures_to(
    group: str,
    add: Callable[[Sequence[Exposure]], int],
    forget: Callable[[Mapping[bytes, float]], int],
    unreadable: Path,
) -> Log[Exposure]:
    """The log of exposures; arguments as of `Log`."""

    def about(shown: Exposure) -> tuple[str | None, float]:
        return shown.user_id, shown.at_s

    return Log(
        *(exposure_keys(), group, decode_exposures, about, add, forget, unreadable),
        at_once=SHOWN_AT_ONCE,
    )


def move(
    client: redis.Redis, log: Log[Kind], on_progress: Callable[[int], object] = lambda _: None
) -> Moved:
    """Move all that is in a log, and apply who was forgotten.

    An entry is acknowledged after what it holds is kept, on an archive's disk or by Kafka's
    brokers: whenever this or the store is killed, nothing is lost. Some of it may come again.

    Args:
        client: of the store.
        log: what to move, and whereto.
        on_progress: called with the number of further events or exposures that were read.

    Raises:
        StoreAway: the store can't be reached.
        InputError: the archive can't be written.
    """
    forgotten = read_forgotten(client)
    moved = Moved(n_forgotten=log.forget(forgotten))
    starts = dict.fromkeys(log.keys, PENDING)
    for key in starts:
        make_group(key, log.group, client)
    while starts:
        taken: dict[str, Entries] = {}
        for key, start in list(starts.items()):
            taken[key] = read_group(key, log.group, start, log.at_once, client)
            if start == PENDING and not taken[key]:
                starts[key] = NEW
            elif start == NEW and len(taken[key]) < log.at_once:
                del starts[key]  # what comes from now on is for the next time
        found = _decode_all(taken, log, moved)
        on_progress(len(found))
        _keep(found, forgotten, log, moved)
        for key, entries in taken.items():
            if entries:
                acknowledge(key, log.group, [entry_id for entry_id, _ in entries], client)
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
                logger.warning(
                    "%s, entry %s: %s; kept in %s", key, entry_id, error, log.unreadable.name
                )
                _set_aside(log.unreadable, key, entry_id, fields)
                moved.n_unreadable += 1
    return found


def _set_aside(path: Path, key: str, entry_id: bytes, fields: Mapping[bytes, bytes]) -> None:
    found = {name.hex(): base64.b64encode(value).decode() for name, value in fields.items()}
    with path.open("a") as file:
        file.write(json.dumps({"stream": key, "entry": entry_id.decode(), "fields": found}) + "\n")
        file.flush()
        os.fsync(file.fileno())  # the entry leaves the store next
