"""Events that were acknowledged while the store was away: on disk, and visible to this process.

One file a process, JSON lines, flushed to disk before the acknowledgement. Its owner holds a lock
on it, so that what a dead process left behind can be told from what a living one still uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO

from model_store.codecs import Event
from model_store.errors import ConfigError

log = logging.getLogger(__name__)

_BATCH = 1_000
Events = Sequence[tuple[str, Event]]


class Journal:
    """Acknowledged events that are not in the store yet.

    Raises:
        ConfigError: the folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"journal-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._file: IO[bytes] | None = None
        self._lock = asyncio.Lock()
        self._pending: list[tuple[str, Event]] = []
        self._by_user: dict[str, list[Event]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"LONGTAIL_STORE_DIR {str(folder)!r}: {error.strerror}") from error

    def of_user(self, user_id: str) -> list[Event]:
        """A user's waiting events, in order of arrival."""
        return self._by_user.get(user_id, [])

    async def append(self, events: Events) -> None:
        """Write events to disk, then make them visible.

        Raises:
            OSError: the disk refused; nothing was acknowledged.
        """
        lines = b"".join(_encode(user_id, event) for user_id, event in events)
        async with self._lock:
            await asyncio.to_thread(self._write, lines)
            for user_id, event in events:
                self._pending.append((user_id, event))
                self._by_user.setdefault(user_id, []).append(event)

    async def replay(self, push: Callable[[Events], Awaitable[None]]) -> int:
        """Hand all waiting events to `push`, this process's and dead ones'; answers how many.

        A file goes only after all in it has been pushed: a kill in between means that events are
        pushed twice, which reading evens out, and never that one is lost.
        """
        pushed = 0
        async with self._lock:
            if self._pending:
                pushed += await _push_all(self._pending, push)
                self._pending.clear()
                self._by_user.clear()
                self._remove()
        for path in self._folder.glob("journal-*.jsonl"):
            if path != self._path:
                pushed += await self._replay_left_behind(path, push)
        return pushed

    async def _replay_left_behind(
        self, path: Path, push: Callable[[Events], Awaitable[None]]
    ) -> int:
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return 0  # its owner lives, or somebody else has just replayed it
            events = await asyncio.to_thread(_decode_all, file.read(), path)
            pushed = await _push_all(events, push)
            path.unlink(missing_ok=True)
            log.info("replayed %d events that %s held", pushed, path.name)
            return pushed

    def _write(self, lines: bytes) -> None:
        if self._file is None:
            self._file = self._path.open("ab", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            _flush_folder(self._folder)
        end = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(lines) != len(lines):
                raise OSError(f"{self._path}: the disk took only a part")
            os.fsync(self._file.fileno())
        except OSError:
            # Half a line would spoil the next one, which is going to be acknowledged.
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise

    def _remove(self) -> None:
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Let go of the file; what is in it is replayed by whoever starts next."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _flush_folder(folder: Path) -> None:
    """Make a new file's name durable too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _push_all(events: Events, push: Callable[[Events], Awaitable[None]]) -> int:
    for start in range(0, len(events), _BATCH):
        await push(events[start : start + _BATCH])
    return len(events)


def _encode(user_id: str, event: Event) -> bytes:
    entry = [user_id, event.item_id, event.timestamp, event.rating]
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


def _decode_all(content: bytes, path: Path) -> list[tuple[str, Event]]:
    events = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            user_id, item_id, timestamp, rating = json.loads(line)
            events.append((str(user_id), Event(str(item_id), float(timestamp), rating)))
        except (ValueError, TypeError):
            # Only a line that was cut off by a kill, so never acknowledged, looks like this.
            log.warning("%s line %d is cut off and was not acknowledged", path.name, number)
    return events
