"""`longtail events archive`: once, or again and again until it is stopped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis

from model_store.embedded import running_store
from model_store.errors import InputError, StoreAway
from model_store.store import connect
from model_store.store_url import store_url_from
from offline.event_archive.archive import EventArchive
from offline.event_archive.archiver import Log, Moved, events_into, exposures_into, move
from offline.event_archive.exposure_archive import ExposureArchive
from offline.progress import Progress
from offline.stopping import until_stopped

_Named = tuple[str, Path, Log[Any]]
"""What is moved, the folder of its archive, and its log."""


def archive(folder: Path, exposures: Path | None, *, every_s: float | None) -> None:
    """Move events, and perhaps exposures, from the store's logs into archives.

    Args:
        folder: of the archive of events.
        exposures: of that of exposures; None: they stay in their log.
        every_s: pause between two looks, until SIGINT or SIGTERM; None: one look.

    Raises:
        StoreAway: the store can't be reached; where it is looked at again, that is waited for.
        InputError: an archive can't be written, or another archiver does.
    """
    if exposures is not None and exposures.resolve().is_relative_to(folder.resolve()):
        # Whoever reads the events would read the exposures with them.
        raise InputError(f"--exposures {exposures}: lies in --out {folder}; name another folder")
    with ExitStack() as stack:
        events = EventArchive(folder)
        stack.enter_context(events.locked())
        logs: list[_Named] = [("events", folder, events_into(events))]
        if exposures is not None:
            shown = ExposureArchive(exposures)
            stack.enter_context(shown.locked())
            logs.append(("exposures", exposures, exposures_into(shown)))
        client = connect(stack.enter_context(running_store(store_url_from())))
        if every_s is None:
            for what, where, log in logs:
                print(_describe(what, _look(client, what, log), where))
            return
        with until_stopped() as stopped:
            while not stopped.is_set():
                _look_at_all(client, logs)
                stopped.wait(every_s)


def _look_at_all(client: redis.Redis, logs: Sequence[_Named]) -> None:
    """Move what is new; where the store is away, that is said."""
    try:
        for what, where, log in logs:
            moved = _look(client, what, log)
            if moved != Moved():
                print(_describe(what, moved, where), flush=True)
    except StoreAway as error:
        print(f"longtail events: {error}; trying again", file=sys.stderr, flush=True)


def _look(client: redis.Redis, what: str, log: Log[Any]) -> Moved:
    with Progress(f"archiving {what}", None, what) as progress:
        return move(client, log, progress.advance)


def _describe(what: str, moved: Moved, where: Path) -> str:
    others = {
        "repeats": moved.n_repeats,
        "of persons who were forgotten": moved.n_forgotten,
        "unreadable": moved.n_unreadable,
    }
    left_out = "".join(f", {n:,} {which}" for which, n in others.items() if n)
    return f"archived {moved.n_new:,} {what} in {where}{left_out}"
