"""What CPU time tests take: the rule by which one is slow, and what a run says about it.

A test is marked `slow` for its CPU time alone: with the processes that it starts, and with what it
is the first to need of fixtures, it takes more than `SLOW_S` on a quiet machine. A run names the
tests whose mark doesn't fit, and fails for none, as no bound holds on every machine.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

SLOW_S = 3.0
# The first in a process that exports a network takes three seconds for loading what exports.
MARGIN = 2.0
N_NAMED = 20
CPU_S = "cpu_s"
ROOT = Path(__file__).resolve().parents[1]
IMPORT = re.compile(r"^from (tests\.[\w.]+) import", re.MULTILINE)


def spent_s() -> float:
    """CPU time of this process, and of those that it started once they have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def may_have_slow_tests(path: Path) -> bool:
    """Whether a file of tests, or a module that it imports from `tests`, marks any as slow.

    To import all other files for the slow tests takes as long as some of these.
    """
    text = path.read_text(encoding="utf-8")
    modules = [ROOT / f"{module.replace('.', '/')}.py" for module in IMPORT.findall(text)]
    texts = [text, *(one.read_text(encoding="utf-8") for one in modules if one.is_file())]
    return any("mark.slow" in one for one in texts)


def check_slow_tests_are_found(items: list[pytest.Item]) -> None:
    """No slow test may lie in a file that `make test-slow` leaves unread.

    Raises:
        pytest.UsageError: one does.
    """
    files = {item.path for item in items if item.get_closest_marker("slow")}
    if missed := sorted(str(path) for path in files if not may_have_slow_tests(path)):
        raise pytest.UsageError(f"`-m slow` would leave out the slow tests of {', '.join(missed)}")


class CpuTimes:
    """A plugin that measures each test where it runs, and tells at the end."""

    def __init__(self) -> None:
        self.by_test = defaultdict[str, float](float)
        self.slow: set[str] = set()
        self._before = 0.0
        self._is_end = False

    def pytest_runtestloop(self) -> None:
        self._before = spent_s()  # collecting is no test's

    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> None:
        self._is_end = nextitem is None  # the stores that all tests have used end, too

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the time of each phase into its report, which a worker sends along."""
        report = yield
        now = spent_s()
        if not (self._is_end and report.when == "teardown"):
            report.user_properties.append((CPU_S, now - self._before))
        self._before = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == CPU_S and isinstance(value, float):
                self.by_test[report.nodeid] += value
        if "slow" in report.keywords:
            self.slow.add(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.lines() if self.by_test else ():
            terminalreporter.write_line(line)

    def lines(self) -> Iterator[str]:
        """The sum, then tests that should be marked, then files whose marks aren't needed."""
        yield f"CPU time of {len(self.by_test):,} tests: {sum(self.by_test.values()):.0f} s"
        unmarked = {test: cpu_s for test, cpu_s in self.by_test.items() if test not in self.slow}
        for test, cpu_s in sorted(unmarked.items(), key=lambda one: -one[1])[:N_NAMED]:
            if cpu_s > MARGIN * SLOW_S:
                yield f"{cpu_s:.1f} s of CPU time, and not marked slow: {test}"
        marked = defaultdict[str, float](float)  # by file, as its tests share what is slow
        for test in self.slow:
            marked[test.partition("::")[0]] += self.by_test[test]
        for file, cpu_s in sorted(marked.items(), key=lambda one: one[1])[:N_NAMED]:
            if cpu_s < SLOW_S / MARGIN:
                yield f"{cpu_s:.1f} s of CPU time, and marked slow: {file}"
