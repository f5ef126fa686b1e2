"""External item ids (text) against internal item indices (int, 1..N; 0 is padding)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.errors import BundleError, InputError
from model_store.files import write_atomically
from model_store.id_table import IdTable
from model_store.reading import read_json
from model_store.texts import in_parts, is_encodable

PADDING_INDEX = 0
# Fewer ids are looked up one by one: a table takes as long for one as for a hundred.
FEWEST_TOGETHER = 250
# The dictionary of a smaller map is in the processor's caches.
FEWEST_IN_TABLE = 50_000


class IdMap:
    """A frozen, one-to-one map; external and internal ids never mix elsewhere.

    Args:
        ids: in the order of their item_index.
        table: of the first ids, for look-ups of many at once.

    Raises:
        InputError: an id is given twice.
    """

    __slots__ = ("_ids", "_index_of", "_table")

    def __init__(self, ids: Sequence[str], table: IdTable | None = None) -> None:
        self._ids = tuple(ids)
        self._table = table
        self._index_of = {item_id: index for index, item_id in enumerate(self._ids, start=1)}
        if len(self._index_of) != len(self._ids):
            seen: set[str] = set()
            twice = next(i for i in self._ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise InputError(f"item id {twice!r} is given twice")

    def __len__(self) -> int:
        """Number of items N, padding not counted."""
        return len(self._ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._index_of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and self._ids == other._ids

    def __hash__(self) -> int:
        return hash(self._ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """All item ids; position p holds item_index p + 1."""
        return self._ids

    def index_of(self, item_id: str) -> int | None:
        """item_index of an item, None where it is unknown."""
        return self._index_of.get(item_id)

    def indices(self, item_ids: Sequence[str]) -> tuple[npt.NDArray[np.int32], int]:
        """item_indices of the known ids, in order, int32; and how many were unknown."""
        if self._table is not None and len(item_ids) >= FEWEST_TOGETHER:
            return self._indices_together(item_ids, self._table)
        found = [self._index_of.get(item_id, PADDING_INDEX) for item_id in item_ids]
        known = [index for index in found if index]
        return np.array(known, dtype=np.int32), len(found) - len(known)

    def _indices_together(
        self, item_ids: Sequence[str], table: IdTable
    ) -> tuple[npt.NDArray[np.int32], int]:
        found = table.find(item_ids)
        # The table need not have all: what it lacks the dictionary knows, if anybody.
        for place in np.flatnonzero(found == PADDING_INDEX).tolist():
            found[place] = self._index_of.get(item_ids[place], PADDING_INDEX)
        known = found[found != PADDING_INDEX]
        return known, len(found) - len(known)

    def id_of(self, item_index: int) -> str:
        """item_id of an index in 1..N.

        Raises:
            IndexError: the index is padding or out of range.
        """
        if not 1 <= item_index <= len(self._ids):
            raise IndexError(f"item_index {item_index} is outside 1..{len(self._ids)}")
        return self._ids[item_index - 1]

    def extended(self, new_ids: Iterable[str]) -> IdMap:
        """A map with further ids appended; present indices stay."""
        return IdMap((*self._ids, *new_ids), self._table)

    def with_table(self) -> IdMap:
        """The same map with a table for many look-ups at once; itself where it is small.

        Takes half a second and 28 MB for a million ids of seven letters.
        """
        if len(self._ids) < FEWEST_IN_TABLE:
            return self
        same = copy(self)
        same._table = IdTable.of(self._ids)
        return same

    def save(self, path: Path) -> None:
        """Write as a JSON list of ids in index order."""
        write_atomically(path, json.dumps(self._ids, ensure_ascii=False).encode())

    @classmethod
    def load(cls, path: Path) -> IdMap:
        """Read what `save` wrote.

        Raises:
            BundleUnavailable: the file can't be read now.
            BundleError: the file isn't a JSON list of different texts.
        """
        ids = read_ids(path)
        try:
            return cls(ids)
        except InputError as error:
            raise BundleError(f"{path}: {error}") from error


def read_ids(path: Path) -> list[str]:
    """A JSON list of ids, of items or users.

    Raises:
        BundleUnavailable: the file can't be read now.
        BundleError: it holds something else, or an id that JSON can't carry.
    """
    ids = read_json(path, "a readable list of ids")
    if not isinstance(ids, list) or not all(
        set(map(type, some)) <= {str} for _, some in in_parts(ids)
    ):
        raise BundleError(f"{path}: expected a JSON list of texts")
    for _, some in in_parts(ids):
        if not all(some) or not is_encodable("".join(some)):
            wrong = next(one for one in some if not one or not is_encodable(one))
            raise BundleError(f"{path}: id {wrong!r:.100} is empty or not Unicode text")
    return ids
