from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from loadtest.children import Child


def start_stand_in(misbehaviour: str = "none") -> Child:
    command = [sys.executable, "-m", "tests.loadtest.stand_in", "{port}", misbehaviour]
    return Child(f"stand-in ({misbehaviour})", command)


@pytest.fixture(scope="session")
def stand_in() -> Iterator[Child]:
    with start_stand_in() as child:
        yield child
