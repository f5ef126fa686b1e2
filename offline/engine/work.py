"""The work on one batch, and the part of a stage that one batch is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from model_store.files import write_atomically

if TYPE_CHECKING:
    import polars as pl

Compute: TypeAlias = "Callable[[pl.DataFrame], pl.DataFrame]"
"""From the rows of a batch to those of its result."""
Device: TypeAlias = Literal["auto", "cpu", "cuda"]


class Work(Protocol):
    """What is done to every batch. It goes to other processes, so it holds values and paths."""

    @property
    def device(self) -> Device:
        """What a process computes on: a core, a CUDA device, or one where there are some."""
        ...

    def open(self) -> Compute:
        """Load what it needs; once in each process that works."""
        ...


@dataclass(frozen=True)
class Part:
    """One batch: a function of what `source` holds becomes `target`.

    Attributes:
        source: Parquet file with the batch's rows.
        target: Parquet file of the result, whole or not there.
        n_rows: of the source, to show progress.
    """

    source: Path
    target: Path
    n_rows: int

    def run(self, compute: Compute) -> None:
        """Read, compute, and write the result atomically."""
        import polars as pl

        frame = compute(pl.read_parquet(self.source))
        write_atomically(self.target, frame.write_parquet)


class Engine(Protocol):
    """Runs parts somewhere."""

    def describe(self) -> str:
        """How many processes compute, and what is known of their memory, once they have."""
        ...

    def run(self, work: Work, parts: Iterable[Part]) -> Iterator[Part]:
        """Run all parts, and yield each when its result is there, in any order.

        Parts are taken as they are needed, so that their sources need not all exist at once.

        Raises:
            EngineError: a process was lost, or can't be started.
            LongtailError: the work can't be done, in one line.
        """
        ...


@dataclass(frozen=True)
class Workplace:
    """An engine, and where its parts lie.

    Attributes:
        engine: runs parts.
        folder: for their files, which a later run after a kill finds there.
    """

    engine: Engine
    folder: Path
