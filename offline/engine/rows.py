"""Items of many users: next to each other in memory, as a column of lists in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

Items = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """Items of each of U users: row u is `items[offsets[u]:offsets[u + 1]]`.

    Attributes:
        offsets: int64 [U+1].
        items: int32, item_indices; a memory map will do.
    """

    offsets: npt.NDArray[np.int64]
    items: Items

    @classmethod
    def of(cls, rows: Sequence[Items]) -> Self:
        """Rows next to each other."""
        offsets = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
        return cls(offsets, np.concatenate([*rows, np.zeros(0, np.int32)]).astype(np.int32))

    def part(self, name: str, start: int, stop: int) -> pl.Series:
        """The rows of some users, as a column of lists."""
        ends = self.offsets[start : stop + 1]
        users = np.repeat(np.arange(stop - start), np.diff(ends))
        items = pl.DataFrame({"user": users, name: self.items[ends[0] : ends[-1]]})
        lists = items.group_by("user", maintain_order=True).agg(name)
        everybody = pl.DataFrame({"user": np.arange(stop - start)})
        joined = everybody.join(lists, on="user", how="left", maintain_order="left")
        return joined[name].fill_null([])


def rows_of(column: pl.Series) -> list[Items]:
    """The items of each row of a column of lists."""
    lengths = column.list.len().to_numpy()
    items = column.explode().drop_nulls().to_numpy()  # an empty list becomes a null
    return np.split(items, np.cumsum(lengths)[:-1]) if len(lengths) else []
