"""User ids on disk, by slot: found in any order and more than once, read in order and once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from model_store.files import write_atomically
from model_store.keys import N_SLOTS, slot_of_user

N_FILES = 256
"""A power of two. The ids of one file are in memory together."""
_SLOTS_EACH = N_SLOTS // N_FILES
_IDS_IN_MEMORY = 200_000


class SlotFiles:
    """Collects user ids; then gives them by slot, and within a slot by id.

    So users stand in the same groups in every run, and one who came since changes those of one
    range of slots only, until there are twice as many users.

    Args:
        folder: for the files; it is the caller's to remove.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[int, list[str]] = defaultdict(list)
        self._n_waiting = 0
        self._counts = [0] * N_FILES
        folder.mkdir(parents=True)

    def add(self, user_id: str) -> None:
        """Collect an id; again, it does no harm."""
        self._waiting[slot_of_user(user_id) // _SLOTS_EACH].append(json.dumps(user_id))
        self._n_waiting += 1
        if self._n_waiting >= _IDS_IN_MEMORY:
            self._flush()

    def finish(self) -> int:
        """Bring what was collected into order; returns how many users there are."""
        self._flush()
        for number in range(N_FILES):
            if (path := self._path(number)).is_file():
                ids = {json.loads(line) for line in path.read_text().splitlines()}
                ordered = sorted(ids, key=lambda user_id: (slot_of_user(user_id), user_id))
                write_atomically(path, "".join(json.dumps(one) + "\n" for one in ordered).encode())
                self._counts[number] = len(ordered)
        return sum(self._counts)

    def groups(self, n_users: int) -> Iterator[tuple[str, list[str]]]:
        """Groups of at most so many users, each with the name of its place.

        Each has the users of as many slots, 16,384 divided by a power of two, as long as these are
        few enough; the name has the first and the last slot, and the number of a part of them.
        """
        n_groups = 1
        while n_groups < N_FILES and n_groups * n_users < sum(self._counts):
            n_groups *= 2
        each = N_FILES // n_groups
        for first in range(0, N_FILES, each):
            ids = [one for number in range(first, first + each) for one in self._read(number)]
            last_slot = (first + each) * _SLOTS_EACH - 1
            slots = f"{first * _SLOTS_EACH:05}-{last_slot:05}"
            for part, start in enumerate(range(0, len(ids), n_users)):
                yield f"slots-{slots}-{part:04}", ids[start : start + n_users]

    def _flush(self) -> None:
        for number, lines in self._waiting.items():
            with self._path(number).open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))
        self._waiting.clear()
        self._n_waiting = 0

    def _read(self, number: int) -> list[str]:
        if not self._counts[number]:
            return []
        return [json.loads(line) for line in self._path(number).read_text().splitlines()]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:03}.jsonl"
