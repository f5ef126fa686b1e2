"""Parts that were finished stay, whatever becomes of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import InputError
from offline.engine.local import EngineError, LocalEngine
from tests.offline.engine.doubled import Doubled, run


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
