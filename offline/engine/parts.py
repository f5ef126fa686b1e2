"""Runs the parts of a stage that are not there yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from model_store.files import write_atomically
from offline.engine.work import Engine, Part, Work
from offline.progress import Progress


class Batch(Protocol):
    """The rows of a part, and where its result goes."""

    @property
    def target(self) -> Path:
        """File of the result; its name changes with all that decides its content."""
        ...

    @property
    def frame(self) -> pl.DataFrame:
        """The rows."""
        ...


@dataclass
class Tally:
    """What a run came to: rows that it computed, rows that were there, and all targets in order."""

    n_computed: int
    n_known: int
    targets: list[Path]


def run_missing(
    engine: Engine,
    work: Work,
    batches: Iterable[Batch],
    sources: Path,
    *,
    n_rows: int,
    label: str,
    unit: str,
) -> Tally:
    """Compute the batches whose results are not there, and show progress.

    A kill loses what was being computed. The next run finds what was finished by its name.

    Args:
        engine: computes.
        work: done to each batch.
        batches: made one after another, as they are needed.
        sources: folder for the batches' rows, each until its result is there.
        n_rows: of all batches.
        label: of the progress.
        unit: of rows.

    Raises:
        LongtailError: a part can't be computed; the finished ones stay.
    """
    tally = Tally(0, 0, [])
    with Progress(label, n_rows, unit) as progress:
        parts = _missing(batches, sources, tally, progress)
        for part in engine.run(work, parts):
            part.source.unlink()
            tally.n_computed += part.n_rows
            progress.advance(part.n_rows)
    return tally


def _missing(
    batches: Iterable[Batch], sources: Path, tally: Tally, progress: Progress
) -> Iterator[Part]:
    """A part of each batch without a result, once its source is written."""
    for batch in batches:
        tally.targets.append(batch.target)
        n_rows = len(batch.frame)
        if batch.target.is_file():
            tally.n_known += n_rows
            progress.advance(n_rows)
            continue
        source = sources / batch.target.name
        write_atomically(source, batch.frame.write_parquet)
        yield Part(source, batch.target, n_rows)
