"""Progress of the service's long commands."""

from __future__ import annotations

import io
import re

import pytest

from app import progress
from app.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that tests set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_five_seconds(clock: list[float]) -> None:
    log = io.StringIO()
    shown = Progress("reranked", 1_000, stream=log)
    for second in range(12):
        clock[0] = 100.0 + second
        shown.show(2 * second, 400)
    shown.close()
    lines = log.getvalue().splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "reranked: 410 of 1",
        "reranked: 420 of 1",
        "reranked: 422 of 1",
    ]
    expected = (
        r"reranked: 410 of 1,000, 400 of them before, 2.0 a second, 5 min left, until \d\d:\d\d"
    )
    assert re.fullmatch(expected, lines[0])


def test_a_terminal_has_one_line(clock: list[float]) -> None:
    terminal = Terminal()
    shown = Progress("histories", 10, stream=terminal)
    clock[0] += 1
    shown.show(5)
    clock[0] += 1
    shown.show(10)
    shown.close()
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().endswith("\rhistories: 10 of 10, 5.0 a second\x1b[K\n")


@pytest.mark.parametrize(
    ("total", "limit", "left"),
    [
        (40, None, "3 s"),
        (40_000, 40, "3 s"),
        (12_010, None, "20 min"),
        (100_000, None, "2 h 47 min"),
    ],
)
def test_the_end_is_that_of_this_run(
    clock: list[float], total: int, limit: int | None, left: str
) -> None:
    log = io.StringIO()
    shown = Progress("reranked", total, limit, stream=log)
    clock[0] += 1
    shown.show(10)
    shown.close()
    assert f", {left} left, until " in log.getvalue()
