"""User vectors of many histories by a recommender, in parts on an engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from offline.engine.parts import run_missing
from offline.engine.rows import Rows, rows_of
from offline.engine.work import Compute, Device, Engine
from offline.fingerprint import fingerprint_of
from offline.models import load_recommender
from offline.recommender.recommender import Recommender

HISTORY, VECTOR = "history", "vector"
# A multiple of the histories that a recommender reads at a time: the same ones are read together
# however many parts there are, and no bit of a vector depends on that.
_USERS = 4_096


@dataclass(frozen=True)
class ReadHistories:
    """The `Work` of reading histories.

    Attributes:
        recommender: folder that it was saved into.
    """

    recommender: Path

    device: ClassVar[Device] = "cpu"

    def open(self) -> Compute:
        """Load the recommender.

        Raises:
            InputError: the folder doesn't hold one.
        """
        return partial(_read, load_recommender(self.recommender))


def _read(recommender: Recommender, batch: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame({VECTOR: recommender.user_vectors(rows_of(batch[HISTORY]))})


@dataclass(frozen=True)
class _Histories:
    """A `Batch` of histories."""

    target: Path
    frame: pl.DataFrame


def user_vectors(
    recommender: Path, fingerprint: str, histories: Rows, engine: Engine, folder: Path
) -> npt.NDArray[np.float32]:
    """User vectors float32 [U, D].

    Args:
        recommender: folder that it was saved into.
        fingerprint: of the recommender.
        histories: item_indices of each user, oldest first.
        engine: reads them.
        folder: for parts, which a later run after a kill finds there.
    """
    n_users = len(histories.offsets) - 1
    tally = run_missing(
        engine,
        ReadHistories(recommender.resolve()),
        _batches(histories, fingerprint, folder),
        folder / "sources",
        n_rows=n_users,
        label="user vectors",
        unit="users",
    )
    found = [pl.read_parquet(target)[VECTOR].to_numpy() for target in tally.targets]
    vectors: npt.NDArray[np.float32] = np.concatenate(found)
    return vectors


def _batches(histories: Rows, fingerprint: str, folder: Path) -> Iterator[_Histories]:
    n_users = len(histories.offsets) - 1
    for start in range(0, n_users, _USERS):
        column = histories.part(HISTORY, start, min(start + _USERS, n_users))
        name = fingerprint_of(fingerprint, *rows_of(column))[:16]
        yield _Histories(folder / f"{start:09}.{name}.parquet", column.to_frame())
