"""Numbers texts by first appearance, part by part, by the hash of each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

Numbers = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_PLACE_BITS = 17  # of a table of 2 MiB, most of which a core's cache holds
_NONE = np.iinfo(np.uint32).max


class HashNumbers:
    """Texts numbered by first appearance."""

    def __init__(self) -> None:
        self._table: _HashTable | None = _HashTable()
        self._texts = pl.Series(dtype=pl.String)

    @property
    def texts(self) -> pl.Series:
        """The text of each number."""
        return self._texts

    def add(self, texts: pl.Series) -> Numbers:
        """The numbers of more texts, uint32 [n]; none of them is null."""
        if self._table is None:
            return self._add_compared(texts)
        numbers, first = self._table.add(texts.hash().rechunk().to_numpy())
        known = pl.concat([self._texts, texts.gather(first)]).rechunk()
        # Of a series polars takes the numbers as they are; those of an array it would convert.
        if not (known.gather(pl.Series(numbers)) == texts).all():  # two texts have one hash
            self._table = None
            return self._add_compared(texts)
        self._texts = known
        return numbers

    def _add_compared(self, texts: pl.Series) -> Numbers:
        """As `add`, by the texts themselves, which takes much longer."""
        self._texts = pl.concat([self._texts, texts]).unique(maintain_order=True)
        numbers = pl.int_range(len(self._texts), dtype=pl.UInt32, eager=True)
        return texts.replace_strict(self._texts, numbers).to_numpy()


class _HashTable:
    """Hashes numbered by first appearance.

    The first bits of a hash are a place in a table, which holds the first hash with these bits. Few
    have other hashes with the same ones; they are told apart by their next bits, in a table of
    their own.
    """

    def __init__(self) -> None:
        self._numbers = np.full(1 << _PLACE_BITS, _NONE, dtype=np.uint32)
        self._hashes = np.zeros(1 << _PLACE_BITS, dtype=np.uint64)
        self._first = np.zeros(1 << _PLACE_BITS, dtype=np.uint32)  # row at a place, of one `add`
        self._n_numbers = 0
        self._others: _HashTable | None = None
        self._numbers_of_others = np.zeros(0, dtype=np.uint32)

    def add(self, hashes: Hashes) -> tuple[Numbers, Rows]:
        """The number of each, uint32 [n], and where new ones appear first, int64, ascending."""
        places = (hashes >> np.uint64(64 - _PLACE_BITS)).view(np.int64)
        first = self._take_places(places)
        self._hashes[places[first]] = hashes[first]
        others = np.flatnonzero(self._hashes[places] != hashes)
        if not len(others):
            self._number(places[first], first, first)
            return self._numbers[places], first
        if self._others is None:
            self._others = _HashTable()
        rest = hashes[others]
        rest = rest << np.uint64(_PLACE_BITS) | rest >> np.uint64(64 - _PLACE_BITS)
        numbers_there, first_there = self._others.add(rest)
        first_others = others[first_there]
        all_first = np.sort(np.concatenate([first, first_others]))
        of_others = self._n_numbers + np.searchsorted(all_first, first_others).astype(np.uint32)
        self._numbers_of_others = np.concatenate([self._numbers_of_others, of_others])
        self._number(places[first], first, all_first)
        numbers = self._numbers[places]
        numbers[others] = self._numbers_of_others[numbers_there]
        return numbers, all_first

    def _take_places(self, places: Rows) -> Rows:
        """The rows that are first at a place nobody had before, ascending."""
        free = np.flatnonzero(self._numbers[places] == _NONE)
        wanted = places[free]
        self._first[wanted[::-1]] = free[::-1]  # the last one that is written stays
        rows: Rows = free[self._first[wanted] == free]
        return rows

    def _number(self, places: Rows, rows: Rows, all_first: Rows) -> None:
        """Number new places by the order of their rows among all new ones."""
        self._numbers[places] = self._n_numbers + np.searchsorted(all_first, rows)
        self._n_numbers += len(all_first)
