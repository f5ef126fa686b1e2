"""D: positions of training sequences, as histories x and their next items y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.errors import InputError
from offline.alignment.experience import Int32
from offline.data.histories import Histories

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """x, int32 [L], oldest → newest, and y."""

    history: Int32
    target: int


class Examples:
    """All positions but the first of each sequence.

    Args:
        sequences: training items of each user, oldest → newest.
        max_length: newest items of a history that are kept.

    Raises:
        InputError: no sequence has two items.
    """

    def __init__(self, sequences: Histories, max_length: int) -> None:
        self._sequences, self._max_length = sequences, max_length
        lengths = np.array([max(0, len(sequence) - 1) for sequence in sequences], dtype=np.int64)
        if not lengths.sum():
            raise InputError("alignment: no user has two or more training interactions")
        self._users = np.repeat(np.arange(len(sequences)), lengths)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        self._positions = np.arange(len(starts)) - starts + 1
        newest = np.concatenate([np.asarray(sequence)[:-1] for sequence in sequences])
        self._by_item = np.argsort(newest, kind="stable")
        self._newest = newest[self._by_item]

    def __len__(self) -> int:
        return len(self._users)

    def __getitem__(self, number: int) -> Example:
        sequence = self._sequences[self._users[number]]
        position = int(self._positions[number])
        start = max(0, position - self._max_length)
        return Example(np.asarray(sequence[start:position], np.int32), int(sequence[position]))

    def count_by_item(self, n_items: int) -> Int64:
        """Examples whose history ends with each item, int64 [N+1]."""
        return np.bincount(self._newest, minlength=n_items + 1).astype(np.int64)

    def ending_with(self, item: int, at_most: int, rng: np.random.Generator) -> list[Example]:
        """Examples whose history ends with an item, drawn without repetition."""
        first, end = np.searchsorted(self._newest, [item, item + 1])
        drawn = first + rng.permutation(end - first)[:at_most]
        return [self[number] for number in self._by_item[drawn]]


def newest_items(history: Int32, at_most: int) -> list[int]:
    """The newest different items of a history, newest first."""
    return list(dict.fromkeys(history[::-1].tolist()))[:at_most]
