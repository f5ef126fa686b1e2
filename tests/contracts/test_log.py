"""The log stays readable: dated entries of at most eight lines, each in the file of its subject."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contracts.tree import ROOT

LOG = ROOT / "docs" / "log"
SUBJECTS = sorted(path for path in LOG.glob("*.md") if path.name != "README.md")
HEADING = re.compile(r"## (\d{4}-\d{2}-\d{2}): \S.+")
MAX_LINES, MAX_COLUMNS = 8, 110


def entries(text: str) -> list[tuple[str, list[str]]]:
    """Each entry's heading and its lines of text, without blank ones."""
    _, *parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    lines = [part.strip().splitlines() for part in parts]
    return [(heading, [line for line in rest if line.strip()]) for heading, *rest in lines]


@pytest.mark.parametrize("path", SUBJECTS, ids=lambda path: path.name)
def test_entries_are_dated_short_and_newest_first(path: Path) -> None:
    found = entries(path.read_text())
    assert found
    dates = []
    for heading, lines in found:
        match = HEADING.fullmatch(heading)
        assert match, heading
        dates.append(match.group(1))
        assert 1 <= len(lines) <= MAX_LINES, heading
        assert max(map(len, lines)) <= MAX_COLUMNS, heading
        assert not any(line.startswith(("|", "#", "```")) for line in lines), heading
    assert dates == sorted(dates, reverse=True)


def test_the_index_lists_every_subject() -> None:
    linked = re.findall(r"^\| \[`(\S+)`\]\(\1\)", (LOG / "README.md").read_text(), re.MULTILINE)
    assert sorted(linked) == [path.name for path in SUBJECTS]
