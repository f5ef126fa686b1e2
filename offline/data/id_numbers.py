"""Numbers of ids: rows hold small integers, and each different id is looked at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from offline.data.id_checks import are_inconspicuous, id_reasons
from offline.data.issues import IssueKind
from offline.data.kinds.ids import AS_THEY_STAND, are_no_value, are_shortened, as_ids, as_meant

Numbers = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]

# Rows are numbered together, since ids that come again in many batches cost time in each.
_NUMBERED_ROWS = 4_000_000
_MIN_TABLE_BITS, _MAX_TABLE_BITS = 8, 18  # 1 MiB, which a processor's cache holds
_CACHED_ROWS, _COMPARED_ROWS = 1 << 15, 1 << 17
_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)


class IdNumbers:
    """The ids of one column, numbered by first appearance; a missing id is "".

    Call `add` for every batch, in order, before anything else.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._are_digits = True
        self._waiting: list[pl.Series] = []
        self._numbered: list[Numbers] = []

    def add(self, ids: pl.Series) -> None:
        """Take the ids of more rows: texts, or integers that stand for their decimal digits."""
        self._waiting.append(ids if _are_integers(ids) else as_ids(ids))
        if sum(map(len, self._waiting)) >= _NUMBERED_ROWS:
            self._number_waiting()

    def _number_waiting(self) -> None:
        if not self._waiting:
            return
        parts, self._waiting = self._waiting, []
        integers = _as_integers(parts)
        if integers is not None:
            rows, different = _number_by_table(integers)
        else:
            self._are_digits = False
            rows, different = _number_by_hash(pl.concat(map(as_ids, parts)).fill_null(""))
        self._numbered.append(self._merge(different)[rows] if self._ids else rows)
        self._ids = self._ids or different

    def _merge(self, different: list[str]) -> Numbers:
        """The number of each of these ids, those seen before included, uint32."""
        known = {known_id: number for number, known_id in enumerate(self._ids)}
        numbers = [known.setdefault(one, len(known)) for one in different]
        self._ids = list(known)
        return np.array(numbers, dtype=np.uint32)

    @cached_property
    def rows(self) -> Numbers:
        """The number of each row's id, uint32 [n]."""
        self._number_waiting()
        if len(self._numbered) == 1:
            return self._numbered[0]
        return np.concatenate([np.zeros(0, dtype=np.uint32), *self._numbered])

    @cached_property
    def ids(self) -> list[str]:
        """The id of each number."""
        self._number_waiting()
        return self._ids

    @cached_property
    def _texts(self) -> pl.Series:
        return pl.Series(self.ids, dtype=pl.String)

    def bad_rows(self, missing: IssueKind) -> list[tuple[IssueKind, npt.NDArray[np.bool_]]]:
        """Rows whose ids can't be used, bool [n], by issue; `missing` is that of blank ids."""
        found: list[tuple[IssueKind, npt.NDArray[np.bool_]]] = []
        self._number_waiting()
        if self._are_digits:
            return found
        frame = pl.DataFrame({"id": self._texts})
        no_value = are_no_value(frame["id"])
        if no_value.any():
            found.append((missing, no_value.to_numpy()[self.rows]))
        if are_inconspicuous(frame["id"]):
            return found
        for kind, speaks_against, _ in id_reasons("id", missing):
            is_bad = frame.select(speaks_against.fill_null(value=False)).to_series().to_numpy()
            if is_bad.any():
                found.append((kind, is_bad[self.rows]))
        return found

    def shortened_rows(self) -> npt.NDArray[np.bool_] | None:
        """Rows whose ids seem to have lost digits, bool [n]; None where there are none."""
        self._number_waiting()
        if self._are_digits:
            return None
        flags = are_shortened(self._texts).to_numpy()
        return flags[self.rows] if flags.any() else None

    def of_rows(self, kept: npt.NDArray[np.bool_]) -> tuple[Numbers, list[str], str]:
        """Numbers of the kept rows by first appearance there, their ids, and how they were read."""
        rows, ids = self.rows, self.ids
        if not kept.all():
            rows = rows[kept]
            different = pl.Series(rows).unique(maintain_order=True).to_numpy()
            ids = [ids[number] for number in different]
            renumbered = np.zeros(len(self.ids), dtype=np.uint32)
            renumbered[different] = np.arange(len(different), dtype=np.uint32)
            rows = renumbered[rows]
        ids, detail = (ids, AS_THEY_STAND) if self._are_digits else as_meant(ids)
        return rows, ids, detail


def _are_integers(ids: pl.Series) -> bool:
    return ids.dtype in _INTEGERS and not ids.has_nulls()


def _number_by_hash(ids: pl.Series) -> tuple[Numbers, list[str]]:
    """A number for each row by first appearance, uint32 [n], and the id of each number."""
    rows, first = _number_hashes(ids.hash().rechunk().to_numpy())
    different = ids.gather(first)
    if not _are_named(ids, rows, different):  # two ids may have one hash
        different = ids.unique(maintain_order=True)
        numbers = pl.int_range(len(different), dtype=pl.UInt32, eager=True)
        rows = ids.replace_strict(different, numbers).to_numpy()
    return rows, different.to_list()


def _are_named(ids: pl.Series, rows: Numbers, different: pl.Series) -> bool:
    """Whether each row's id is that of its number."""
    # Of a series polars takes the numbers as they are; those of an array it would convert.
    return all(
        bool((different.gather(pl.Series(rows[some])) == ids[some]).all())
        for some in _slices(len(ids), _COMPARED_ROWS)
    )


def _slices(n_rows: int, size: int) -> Iterator[slice]:
    """Rows so few at a time that what is computed of them stays in the processor's cache."""
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def _number_hashes(hashes: npt.NDArray[np.uint64]) -> tuple[Numbers, Rows]:
    """A number for each row by first appearance, uint32 [n], and where each appears first."""
    first, firsts = _first_rows(hashes)
    numbers = np.empty(len(hashes), dtype=np.uint32)
    numbers[firsts] = np.arange(len(firsts), dtype=np.uint32)
    for some in _slices(len(hashes), _CACHED_ROWS):  # a first row comes before the others
        numbers[some] = numbers[first[some]]
    return numbers, firsts


def _first_rows(hashes: npt.NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """The first row that has each row's hash, int64 [n]; and all first rows in order, int64.

    The first bits of a hash are a place in a table that holds the first row with these bits. Few
    rows have other hashes with the same ones; they are told apart by their next bits.
    """
    n_rows = len(hashes)
    n_bits = min(max(n_rows.bit_length(), _MIN_TABLE_BITS), _MAX_TABLE_BITS)
    table = np.full(1 << n_bits, n_rows, dtype=np.uint32)
    first = np.empty(n_rows, dtype=np.int64)
    of_others = [np.zeros(0, dtype=np.int64)]
    for some in _slices(n_rows, _CACHED_ROWS):
        places = (hashes[some] >> np.uint64(64 - n_bits)).view(np.int64)
        np.minimum.at(table, places, np.arange(some.start, some.stop, dtype=np.uint32))
        first[some] = table[places]  # which no later row changes
        is_other = hashes[first[some]] != hashes[some]
        of_others.append(some.start + np.flatnonzero(is_other))
    firsts = table[table < n_rows].astype(np.int64)
    others = np.concatenate(of_others)
    if len(others):
        rest = hashes[others]
        rest = rest << np.uint64(n_bits) | rest >> np.uint64(64 - n_bits)
        first_of_others, firsts_of_others = _first_rows(rest)
        first[others] = others[first_of_others]
        firsts = np.concatenate([firsts, others[firsts_of_others]])
    firsts.sort()
    return first, firsts


def _number_by_table(integers: npt.NDArray[np.integer]) -> tuple[Numbers, list[str]]:
    """As `_number_by_hash`, of ids that are integers from 0."""
    n_rows, size = len(integers), int(integers.max()) + 1
    first = np.full(size, n_rows, dtype=np.uint32)
    np.minimum.at(first, integers, np.arange(n_rows, dtype=np.uint32))
    different = np.flatnonzero(first < n_rows)
    different = different[np.argsort(first[different], kind="stable")]
    first[different] = np.arange(len(different), dtype=np.uint32)
    return first[integers], pl.Series(different).cast(pl.String).to_list()


def _as_integers(parts: Sequence[pl.Series]) -> npt.NDArray[np.integer] | None:
    """Ids as integers where each is the plain digits of a number small enough to index a table."""
    integers = []
    for part in parts:
        plain = part if part.dtype != pl.String else _without_spelling(part)
        if plain is None:
            return None
        integers.append(plain.to_numpy())
    together = np.concatenate(integers)
    if not len(together) or together.min() < 0 or together.max() > 10 * len(together):
        return None
    return together


def _without_spelling(ids: pl.Series) -> pl.Series | None:
    """Texts as Int64, None unless each is the plain digits of an integer above 0, or "0".

    A text that is read as such a number has no leading zero, sign or blank if it begins with a
    digit other than 0; all of these come before "1" in the order of texts.
    """
    if len(ids) and not (ids[0] or "").isdecimal():
        return None
    integers = ids.cast(pl.Int64, strict=False)
    if integers.has_nulls():
        return None
    is_plain = ids >= "1"
    return integers if is_plain.all() or (is_plain | (ids == "0")).all() else None
