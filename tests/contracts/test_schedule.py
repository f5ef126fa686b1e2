"""The order in which several workers take the files of tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.schedule import schedule


@dataclass(frozen=True)
class Item:
    """As much of a test as its place depends on."""

    file: str
    marks: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return Path(self.file)

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.marks else None


def files_of(tests: list[Any]) -> list[str]:
    return list(dict.fromkeys(test.file for test in tests))


def test_slow_files_come_first_and_those_that_run_alone_last() -> None:
    tests: list[Any] = [
        Item("alone", ("alone", "slow")),
        Item("partly alone"),
        Item("partly alone", ("alone",)),
        Item("quick"),
        Item("slow"),
        Item("slow", ("slow",)),
        Item("another quick"),
    ]
    assert files_of(schedule(tests)) == ["slow", "quick", "another quick", "partly alone", "alone"]


def test_every_file_stays_together_in_its_own_order() -> None:
    marks: list[tuple[str, ...]] = [(), ("slow",), ("alone",), ("alone", "slow")]
    tests: list[Any] = [Item(f"file {n % 7}", marks[n % 4]) for n in range(40)]
    tests = sorted(tests, key=lambda test: test.file)
    scheduled = schedule(tests)
    assert len(scheduled) == len(tests)
    for file in {test.file for test in tests}:
        places = [place for place, test in enumerate(scheduled) if test.file == file]
        assert places == list(range(places[0], places[0] + len(places)))
        assert [scheduled[p] for p in places] == [test for test in tests if test.file == file]
