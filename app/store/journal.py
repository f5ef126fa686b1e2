"""Events that were acknowledged while the store was away: on disk, and visible to this process.

One file a process, JSON lines, flushed to disk before the acknowledgement. Its owner holds a lock
on it, which distinguishes files of dead processes from those in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from model_store import keys
from model_store.codecs import MAX_RATING, Event, first_reports
from model_store.errors import ConfigError
from model_store.event_rules import INTERACTION
from model_store.files import make_folder, probe_folder

log = logging.getLogger(__name__)

_BATCH = 1_000
MIN_FREE_BYTES = 64 * 1024
# A shorter file is not rewritten only because of events that newer ones have pushed out.
MANY_LINES = 5_000
Events = Mapping[str, Sequence[Event]]
Push = Callable[[Events], Awaitable[set[str]]]
"""Writes users' events to the store; answers the users whose events have to stay."""


class Journal:
    """Acknowledged events that are not in the store yet.

    Args:
        folder: of the files.
        on_change: called with the number of events that wait, whenever it changes.

    Raises:
        ConfigError: the folder can't be written.
    """

    def __init__(self, folder: Path, on_change: Callable[[int], None] | None = None) -> None:
        self._folder = folder
        self._on_change = on_change
        self._path = self._new_path()
        self._file: IO[bytes] | None = None
        self._lock = asyncio.Lock()
        self._by_user: dict[str, list[Event]] = {}
        self._n_lines = self._n_waiting = 0
        try:
            make_folder(folder)
            # Found out at start, and not in an outage.
            probe_folder(folder, MIN_FREE_BYTES)
        except OSError as error:
            raise ConfigError(f"LONGTAIL_STORE_DIR {str(folder)!r}: {error.strerror}") from error

    def of_user(self, user_id: str) -> Sequence[Event]:
        """A user's waiting events, in order of arrival."""
        return self._by_user.get(user_id, ())

    async def append(self, events: Events) -> None:
        """Write events to disk, then make them visible.

        Raises:
            OSError: the disk failed; nothing was acknowledged.
        """
        async with self._lock:
            await asyncio.to_thread(lambda: self._write(_encode(events)))
            self._n_lines += sum(map(len, events.values()))
            n_before = sum(len(self._by_user.get(user_id, ())) for user_id in events)
            for user_id, new in events.items():
                waiting = self._by_user.setdefault(user_id, [])
                waiting += new
                if len(waiting) > 2 * keys.MAX_EVENTS_PER_USER:
                    # As many as the store would keep; the file has them all until it is rewritten.
                    self._by_user[user_id] = _newest(waiting)
            self._count(sum(len(self._by_user[user_id]) for user_id in events) - n_before)

    async def replay(self, push: Push) -> None:
        """Hand all waiting events to `push`, this process's and dead ones'.

        A file goes only after all in it has been pushed: a kill in between means that events are
        pushed twice, which does no harm, and never that one is lost. New events are taken
        meanwhile.
        """
        if self._by_user and (await self._replay_own(push) or self._is_mostly_obsolete()):
            async with self._lock:
                await asyncio.to_thread(self._rewrite)
        for path in self._folder.glob("journal-*.jsonl"):
            if path != self._path:
                await self._replay_left_behind(path, push)

    async def _replay_own(self, push: Push) -> bool:
        """Push waiting events and forget them; True if there were any."""
        pushed = False
        for batch in _batches(self._by_user):
            stay = await push(batch)
            for user_id, events in batch.items():
                if user_id in stay:
                    continue
                pushed = True
                self._forget(user_id, events)
        return pushed

    @property
    def user_ids(self) -> list[str]:
        """Users with waiting events."""
        return list(self._by_user)

    async def drop(self, user_ids: Collection[str]) -> None:
        """Remove all waiting events of users, from the disk too."""
        gone = [user_id for user_id in user_ids if user_id in self._by_user]
        for user_id in gone:
            self._forget(user_id, self._by_user[user_id])
        if gone:
            async with self._lock:
                await asyncio.to_thread(self._rewrite)

    def _count(self, n_more: int) -> None:
        self._n_waiting += n_more
        if self._on_change is not None:
            self._on_change(self._n_waiting)

    def _is_mostly_obsolete(self) -> bool:
        """Whether the file holds many more events than wait."""
        return self._n_lines > MANY_LINES and self._n_lines > 2 * self._n_waiting

    def _forget(self, user_id: str, events: Sequence[Event]) -> None:
        gone = set(map(id, events))
        waiting = self._by_user.get(user_id, [])  # none: the user was forgotten meanwhile
        left = [event for event in waiting if id(event) not in gone]
        self._count(len(left) - len(waiting))
        if left:
            self._by_user[user_id] = left
        else:
            self._by_user.pop(user_id, None)

    async def _replay_left_behind(self, path: Path, push: Push) -> None:
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return  # its owner lives, or somebody else has just replayed it
            left: dict[str, Sequence[Event]] = {}
            found = await asyncio.to_thread(_decode_all, file.read(), path)
            for batch in _batches(found):
                for user_id in await push(batch):
                    left[user_id] = [*left.get(user_id, ()), *batch[user_id]]
            if left:
                await self.append(left)
            path.unlink(missing_ok=True)
            log.info("replayed the events that %s held", path.name)

    def _write(self, lines: bytes) -> None:
        if self._file is None:
            self._file = self._open()
        end = self._file.seek(0, os.SEEK_END)
        try:
            _write_durably(self._file, lines)
        except OSError:
            # Half a line would damage the next one, which will be acknowledged.
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise

    def _rewrite(self) -> None:
        """Keep only waiting events in the file; if the disk fails, the old file stays."""
        old, old_path = self._file, self._path
        self._file, self._path = None, self._new_path()
        try:
            if self._by_user:
                self._write(_encode(self._by_user))
        except OSError as error:
            log.warning("%s can't be rewritten: %s", old_path, error.strerror)
            self._path.unlink(missing_ok=True)
            self._file, self._path = old, old_path
            return
        self._n_lines = self._n_waiting
        old_path.unlink(missing_ok=True)
        if old is not None:
            old.close()

    def _new_path(self) -> Path:
        return self._folder / f"journal-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"

    def _open(self) -> IO[bytes]:
        file = self._path.open("ab", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        _flush_folder(self._folder)
        return file

    def close(self) -> None:
        """Release the file; the next process to start replays it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_durably(file: IO[bytes], content: bytes) -> None:
    if file.write(content) != len(content):
        raise OSError(errno.ENOSPC, "the disk took only a part", file.name)
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a new file's name durable too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _batches(by_user: Events) -> Iterator[Events]:
    """About a thousand events at a time; a user's stay together unless they are more."""
    batch: dict[str, Sequence[Event]] = {}
    n_events = 0
    for user_id, events in list(by_user.items()):
        for start in range(0, len(events), _BATCH):
            if batch and (user_id in batch or n_events + len(events) > _BATCH):
                yield batch
                batch, n_events = {}, 0
            batch[user_id] = events[start : start + _BATCH]
            n_events += len(batch[user_id])
    if batch:
        yield batch


def _newest(events: Sequence[Event]) -> list[Event]:
    """The newest events, each once, as the store would keep them."""
    in_order = sorted(first_reports(events), key=lambda event: event.timestamp)
    return in_order[-keys.MAX_EVENTS_PER_USER :]


def _encode(by_user: Events) -> bytes:
    return b"".join(
        json.dumps(_line(user_id, event), ensure_ascii=False).encode() + b"\n"
        for user_id, events in by_user.items()
        for event in events
    )


def _line(user_id: str, event: Event) -> list[object]:
    """User, item, time and rating, as in earlier releases; then what else is known, if anything."""
    line: list[object] = [user_id, event.item_id, event.timestamp, event.rating]
    more: dict[str, float | str] = event.details()
    if event.type != INTERACTION:
        more["type"] = event.type
    if event.event_id is not None:
        more["event_id"] = event.event_id
    return [*line, more] if more else line


def _decode_all(content: bytes, path: Path) -> dict[str, list[Event]]:
    by_user: dict[str, list[Event]] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            user_id, item_id, timestamp, rating, *more = json.loads(line)
            if rating is not None and not abs(rating) <= MAX_RATING:
                rating = None
            event = Event(str(item_id), float(timestamp), rating, **(more[0] if more else {}))
        except (ValueError, TypeError):
            # Only a line that was cut off by a kill, so never acknowledged, looks like this.
            log.warning("%s line %d is cut off and was not acknowledged", path.name, number)
        else:
            by_user.setdefault(str(user_id), []).append(event)
    return by_user
