"""Parts that were finished stay, whatever becomes of a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from model_store.errors import InputError
from offline.engine.local import EngineError, LocalEngine
from offline.engine.parts import run_missing
from offline.engine.work import Compute, Engine


@dataclass(frozen=True)
class Doubled:
    """Doubles numbers; a fatal one ends the process, a wrong one is an error of the input."""

    fatal: int = -1
    wrong: int = -1

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


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_back_in_order(tmp_path: Path, processes: int) -> None:
    engine = LocalEngine(processes)
    assert run(engine, Doubled(), tmp_path, 9) == (9, [2 * number for number in range(9)])
    assert run(engine, Doubled(), tmp_path, 10) == (1, [2 * number for number in range(10)])
    assert list((tmp_path / "sources").iterdir()) == []


def test_a_lost_process_loses_what_it_was_at(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="ended from outside"):
        run(LocalEngine(2), Doubled(fatal=8), tmp_path, 9)
    finished = len(list(tmp_path.glob("*.parquet")))
    assert 0 < finished < 9
    n_computed, results = run(LocalEngine(1), Doubled(), tmp_path, 9)
    assert n_computed == 9 - finished
    assert results == [2 * number for number in range(9)]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_comes_as_it_is(tmp_path: Path, processes: int) -> None:
    with pytest.raises(InputError, match="number 1: is wrong"):
        run(LocalEngine(processes), Doubled(wrong=1), tmp_path, 3)
