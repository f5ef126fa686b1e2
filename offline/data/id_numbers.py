"""Numbers of ids: rows hold small integers, and each different id is looked at once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from offline.data.hash_numbers import HashNumbers, Numbers
from offline.data.id_checks import are_inconspicuous, id_reasons
from offline.data.issues import IssueKind
from offline.data.kinds.ids import AS_THEY_STAND, are_no_value, are_shortened, as_ids, as_meant

_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
# A table of integers has at most so many places for each row.
_PLACES_A_ROW = 10
_LARGEST = np.iinfo(np.uint32).max


class IdNumbers:
    """The ids of one column, numbered by first appearance; a missing id is "".

    Call `add` for every batch, in order, before anything else. Ids that are all plain digits are
    numbered at the end, others as they come.
    """

    def __init__(self) -> None:
        self._integers: list[Numbers] = []
        self._texts: HashNumbers | None = None
        self._numbered: list[Numbers] = []

    def add(self, ids: pl.Series) -> None:
        """Take the ids of more rows: texts, or integers that stand for their decimal digits."""
        if self._texts is None:
            integers = _plain_integers(ids)
            if integers is not None:
                self._integers.append(integers)
                return
        self._add_texts(ids)

    def _add_texts(self, ids: pl.Series) -> None:
        texts = self._begin_texts() if self._texts is None else self._texts
        self._numbered.append(texts.add(as_ids(ids).fill_null("")))

    def _begin_texts(self) -> HashNumbers:
        """Number the rows so far as texts."""
        self._texts = HashNumbers()
        parts, self._integers = self._integers, []
        for part in parts:
            self._add_texts(pl.Series(part))
        return self._texts

    @cached_property
    def _are_digits(self) -> bool:
        """Whether all are plain digits of integers that are small enough to index a table."""
        if self._texts is None:
            n_rows = sum(map(len, self._integers))
            largest = max((int(part.max()) for part in self._integers if len(part)), default=0)
            if n_rows and largest <= _PLACES_A_ROW * n_rows:
                return True
            self._begin_texts()
        return False

    @cached_property
    def _settled(self) -> tuple[Numbers, pl.Series]:
        """The number of each row, uint32 [n], and the id of each number."""
        if self._are_digits:
            return _number_by_table(np.concatenate(self._integers))
        texts = pl.Series(dtype=pl.String) if self._texts is None else self._texts.texts
        return np.concatenate([np.zeros(0, dtype=np.uint32), *self._numbered]), texts

    @property
    def rows(self) -> Numbers:
        """The number of each row's id, uint32 [n]."""
        return self._settled[0]

    @cached_property
    def ids(self) -> list[str]:
        """The id of each number."""
        return self._settled[1].to_list()

    def bad_rows(self, missing: IssueKind) -> list[tuple[IssueKind, npt.NDArray[np.bool_]]]:
        """Rows whose ids can't be used, bool [n], by issue; `missing` is that of blank ids."""
        found: list[tuple[IssueKind, npt.NDArray[np.bool_]]] = []
        if self._are_digits:
            return found
        frame = pl.DataFrame({"id": self._settled[1]})
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
        if self._are_digits:
            return None
        flags = are_shortened(self._settled[1]).to_numpy()
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


def _number_by_table(integers: Numbers) -> tuple[Numbers, pl.Series]:
    """A number for each row by first appearance, uint32 [n], and the id of each number."""
    n_rows, size = len(integers), int(integers.max()) + 1
    first = np.full(size, n_rows, dtype=np.uint32)
    np.minimum.at(first, integers, np.arange(n_rows, dtype=np.uint32))
    different = np.flatnonzero(first < n_rows)
    different = different[np.argsort(first[different], kind="stable")]
    first[different] = np.arange(len(different), dtype=np.uint32)
    return first[integers], pl.Series(different).cast(pl.String)


def _plain_integers(ids: pl.Series) -> Numbers | None:
    """Ids as uint32 where each is the plain digits of such a number, else None."""
    if ids.dtype == pl.String:
        plain = _without_spelling(ids)
    else:
        plain = ids if ids.dtype in _INTEGERS and not ids.has_nulls() else None
    if plain is None or not plain.is_between(0, _LARGEST).all():
        return None
    return plain.cast(pl.UInt32).to_numpy()


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
