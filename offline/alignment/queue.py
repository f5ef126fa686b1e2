"""A bounded queue of experiences between two processes: a folder with one file for each update.

The batch of update n is the file n. So the queue needs no state of its own: a trainer that goes on
after update s takes s + 1, a generator that goes on makes the first number that is missing, and a
damaged file is removed and made again.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_store.errors import InputError
from model_store.files import write_atomically
from offline.alignment.batch_file import Batch, decode, encode

log = logging.getLogger(__name__)

_SUFFIX = ".safetensors"
_TAKEN = "taken"
_LOCK = ".writer"
_DIGITS = 9
# A generator whose trainer was killed ends within moments.
_LOCK_WAIT_S = 30.0
_LOCK_LOOK_S = 0.05


class ExperienceQueue:
    """One side reads, the other writes; both open it by its folder.

    Args:
        folder: of the files; made by the reader.
        size: batches that wait at most: the writer is so many updates ahead of the reader.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._reported: set[Path] = set()

    # The reader's side.

    def begin(self, step: int) -> None:
        """Go on after an update: forget what was taken, and what later weights made.

        Args:
            step: the last update that counts; 0 empties the queue.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / _TAKEN, str(step).encode())
        for number, path in self._files().items():
            if step == 0 or number <= step:
                path.unlink()
            else:
                self._read(number, path, step)  # removes it if it is of no use

    def take(self, number: int) -> Batch | None:
        """Take a batch out of the queue; None where it is not there yet.

        It is out of the queue even if the process dies on the way out.
        """
        path = self._path(number)
        if not path.exists():
            return None
        batch = self._read(number, path, number - 1)
        if batch is None:
            return None
        # In this order: who sees that the file is gone also sees that it was taken.
        write_atomically(self._folder / _TAKEN, str(number).encode())
        for old, of_old in self._files().items():
            if old <= number:
                of_old.unlink()
        return batch

    @property
    def n_waiting(self) -> int:
        """Batches that wait to be taken."""
        return len(self._files())

    def _read(self, number: int, path: Path, step: int) -> Batch | None:
        """A file's batch; one of no use is removed, so that it is made again."""
        try:
            batch = decode(path.read_bytes())
            if batch.number != number:
                raise InputError(f"holds the batch of update {batch.number}")
        except InputError as error:
            log.warning("%s: %s; it is skipped and made again", path, error)
        else:
            if all(each.snapshot <= step for each in batch.experiences):
                return batch
            log.warning("%s: made by weights of a later update; it is made again", path)
        path.unlink()
        return None

    # The writer's side.

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer within the context.

        Raises:
            InputError: another process still writes.
        """
        with (self._folder / _LOCK).open("wb") as lock:
            until_s = time.monotonic() + _LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until_s:
                        raise InputError(
                            f"{self._folder}: another generator still writes there"
                        ) from None
                    time.sleep(_LOCK_LOOK_S)
            for path in self._folder.glob(".*.partial"):  # of writers that were killed
                if _SUFFIX in path.name:
                    path.unlink(missing_ok=True)
            yield

    def next_number(self, last: int) -> int | None:
        """The first batch that is missing; None while the queue is full, or if there is no more.

        Args:
            last: the number of the last batch that is needed.
        """
        waiting = self._files()  # before the look at what was taken: see `take`
        taken = int((self._folder / _TAKEN).read_text())
        # Not by how many wait: after a restart of the trainer those may all be later ones.
        ahead = range(taken + 1, min(taken + self._size, last) + 1)
        return next((number for number in ahead if number not in waiting), None)

    def put(self, batch: Batch) -> None:
        """Write a batch; it is there as a whole or not at all."""
        write_atomically(self._path(batch.number), encode(batch))

    # Both sides'.

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:0{_DIGITS}}{_SUFFIX}"

    def _files(self) -> dict[int, Path]:
        """Files by number, ascending; foreign ones are reported once."""
        found = {}
        for path in sorted(self._folder.iterdir()):
            if path.suffix == _SUFFIX and len(path.stem) == _DIGITS and path.stem.isdecimal():
                found[int(path.stem)] = path
            elif path.name != _TAKEN and path.name[0] != "." and path not in self._reported:
                self._reported.add(path)
                log.warning("%s: no file of this queue; it is left alone", path)
        return found
