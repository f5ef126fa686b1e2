"""`longtail events archive`: once, or again and again until it is stopped."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from model_store.embedded import running_store
from model_store.errors import StoreAway
from model_store.store import connect
from model_store.store_url import store_url_from
from offline.event_archive.archive import EventArchive
from offline.event_archive.archiver import Moved, archive_events
from offline.progress import Progress


def archive(folder: Path, *, every_s: float | None) -> None:
    """Move events from the store's log into an archive.

    Args:
        folder: of the archive.
        every_s: pause between two looks, until SIGINT or SIGTERM; None: one look.

    Raises:
        StoreAway: the store can't be reached; where it is looked at again, that is waited for.
        InputError: the archive can't be written, or another archiver does.
    """
    target = EventArchive(folder)
    with target.locked(), running_store(store_url_from()) as url:
        client = connect(url)
        if every_s is None:
            print(_describe(_look(client, target), folder))
            return
        with _until_stopped() as stopped:
            while not stopped.is_set():
                try:
                    moved = _look(client, target)
                except StoreAway as error:
                    print(f"longtail events: {error}; trying again", file=sys.stderr, flush=True)
                else:
                    if moved != Moved():
                        print(_describe(moved, folder), flush=True)
                stopped.wait(every_s)


def _look(client: redis.Redis, target: EventArchive) -> Moved:
    with Progress("archiving events", None, "event") as progress:
        return archive_events(client, target, progress.advance)


def _describe(moved: Moved, folder: Path) -> str:
    others = {
        "repeats": moved.n_repeats,
        "of persons who were forgotten": moved.n_forgotten,
        "unreadable": moved.n_unreadable,
    }
    left_out = "".join(f", {n:,} {what}" for what, n in others.items() if n)
    return f"archived {moved.n_events:,} events in {folder}{left_out}"


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """An event that the first signal to end sets; a look under way is finished."""
    stopped = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
