"""Work that doubles numbers, for tests of engines: other processes import it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from model_store.errors import InputError
from offline.engine.parts import run_missing
from offline.engine.work import Compute, Device, Engine


@dataclass(frozen=True)
class Doubled:
    """Doubles numbers; a fatal one ends the process, a wrong one is an error of the input."""

    fatal: int = -1
    wrong: int = -1

    device: ClassVar[Device] = "cpu"

    def open(self) -> Compute:
        return self._double

    def _double(self, batch: pl.DataFrame) -> pl.DataFrame:
        numbers = batch["number"].to_list()
        if self.fatal in numbers:
            os._exit(9)
        if self.wrong in numbers:
            raise InputError(f"number {self.wrong}: is wrong")
        return batch.with_columns(doubled=pl.col("number") * 2)


@dataclass(frozen=True)
class Numbers:
    target: Path
    frame: pl.DataFrame


def batches(folder: Path, n: int) -> Iterator[Numbers]:
    for number in range(n):
        yield Numbers(folder / f"{number}.parquet", pl.DataFrame({"number": [number]}))


def run(engine: Engine, work: Doubled, folder: Path, n: int) -> tuple[int, list[int]]:
    """How many were computed, and all results in order."""
    numbers = batches(folder, n)
    tally = run_missing(
        engine, work, numbers, folder / "sources", n_rows=n, label="doubling", unit="numbers"
    )
    assert tally.n_computed + tally.n_known == n
    return tally.n_computed, [pl.read_parquet(target)["doubled"].item() for target in tally.targets]
