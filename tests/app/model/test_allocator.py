"""Memory of a model that has gone goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: what the allocator does depends on all that was freed before.
PROGRAM = """
import contextlib, sys
from pathlib import Path
import numpy as np
from app.model.allocator import large_blocks_mapped

def rss_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def load():
    # Weights of a megabyte, each followed by something small that lives longer.
    loaded = []
    for number in range(100):
        loaded.append(np.full(250_000 + number, 1.0, dtype=np.float32))
        kept.append(bytearray(3_000))
    return loaded

kept = []
np.ones(4_000_000)  # raises glibc's threshold for mappings to 32 MB, as weights do
way = large_blocks_mapped if sys.argv[1] == "mapped" else contextlib.nullcontext
before = rss_mb()
with way():
    model = load()
full = rss_mb()
del model
print(full - before, rss_mb() - before)
"""


def grown_mb(way: str) -> tuple[float, float]:
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, way], check=True, capture_output=True, text=True
    ).stdout
    loaded, left = map(float, output.split())
    return loaded, left


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_the_memory_of_weights_goes_back_when_they_are_freed() -> None:
    loaded, left = grown_mb("mapped")
    assert loaded > 90
    assert left < 5


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_without_it_that_memory_would_stay() -> None:
    _, left = grown_mb("heap")
    assert left > 50
