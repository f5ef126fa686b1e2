"""The order of test files for several workers: where tests run alone, the others wait."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

import pytest

Item = TypeVar("Item", bound=pytest.Item)


def schedule(items: list[Item]) -> list[Item]:
    """The same tests, file by file: slow files first, then the others, then those that run alone.

    A test that runs alone waits until the other workers end theirs, and they wait for it. Among
    long tests most of that time is lost, so files of such tests come together at the end. Long
    files come first, so that no worker has one left when the others have nothing to do.
    """
    n_tests = Counter(item.path for item in items)
    n_alone = Counter(item.path for item in items if item.get_closest_marker("alone"))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    return sorted(
        items, key=lambda item: (n_alone[item.path] / n_tests[item.path], item.path not in slow)
    )
