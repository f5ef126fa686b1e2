"""What a run of tests says about their CPU time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.tree import ROOT
from tests.cpu_time import (
    CPU_S,
    CpuTimes,
    check_slow_tests_are_found,
    may_have_slow_tests,
    spent_s,
)


def report(test: str, cpu_s: float, *marks: str) -> pytest.TestReport:
    return pytest.TestReport(
        test,
        (test.partition("::")[0], None, test),
        dict.fromkeys(marks, 1),
        "passed",
        None,
        "call",
        user_properties=[(CPU_S, cpu_s)],
    )


def test_tests_whose_mark_does_not_fit_are_named() -> None:
    times = CpuTimes()
    for one in (
        report("a.py::quick", 0.5),
        report("a.py::long", 4.0),
        report("a.py::long", 3.0),  # another phase of it
        report("b.py::shares", 2.0, "slow"),
        report("b.py::also shares", 0.1, "slow"),
        report("c.py::was long", 0.2, "slow"),
    ):
        times.pytest_runtest_logreport(one)
    assert list(times.lines()) == [
        "CPU time of 5 tests: 10 s",
        "7.0 s of CPU time, and not marked slow: a.py::long",
        "0.2 s of CPU time, and marked slow: c.py",
    ]


def test_processes_that_a_test_started_count() -> None:
    before = spent_s()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    assert spent_s() - before > 0.02


def test_slow_tests_of_a_file_that_inherits_them_are_found() -> None:
    folder = ROOT / "tests" / "offline"
    assert may_have_slow_tests(folder / "direct" / "test_recommender.py")
    assert not may_have_slow_tests(folder / "test_recipe.py")


@dataclass(frozen=True)
class Item:
    """As much of a test as the check asks."""

    path: Path
    is_slow: bool

    def get_closest_marker(self, _name: str) -> bool:
        return self.is_slow


def test_a_slow_test_that_would_never_run_ends_every_run(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text("from elsewhere import *")
    quick: list[Any] = [Item(file, is_slow=False)]
    check_slow_tests_are_found(quick)
    slow: list[Any] = [Item(file, is_slow=True)]
    with pytest.raises(pytest.UsageError, match=r"slow tests of .*test_it\.py"):
        check_slow_tests_are_found(slow)


CONFTEST = """
from tests.conftest import pytest_ignore_collect
from tests.cpu_time import CpuTimes

def pytest_configure(config):
    config.pluginmanager.register(CpuTimes())
"""
MIXED = """
import pytest

@pytest.mark.slow
def test_slow():
    sum(range(10**7))

def test_quick():
    pass
"""


def test_a_run_of_slow_tests_reads_only_files_that_have_some(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_mixed.py").write_text(MIXED)
    (tmp_path / "test_quick.py").write_text("raise ValueError('it is read')")
    command = ["-m", "pytest", f"--rootdir={tmp_path}", "-n1", "-m", "slow", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout
    [line] = [line for line in ran.stdout.splitlines() if line.startswith("CPU time of")]
    assert "CPU time of 1 tests: 0 s" in line
