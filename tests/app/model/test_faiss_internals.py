"""Parts of faiss that are not its documented interface, and may move with any minor release."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import faiss
import numpy as np

ROOT = Path(__file__).parents[3]


def test_the_release_is_one_that_was_tried() -> None:
    bound = re.search(r'"faiss-cpu>=([\d.]+),<([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert bound is not None
    lowest, end = ([int(part) for part in text.split(".")] for text in bound.groups())
    installed = [int(part) for part in metadata.version("faiss-cpu").split(".")[:2]]
    assert lowest <= installed < end


def test_lists_on_disk_are_described_by_three_numbers() -> None:
    lists = faiss.OnDiskInvertedLists()
    lists.lists.resize(2)
    described = np.array([[3, 4, 5], [6, 7, 8]], dtype=np.uint64)
    faiss.memcpy(lists.lists.data(), faiss.swig_ptr(described), described.nbytes)
    found = [(one.size, one.capacity, one.offset) for one in (lists.lists.at(0), lists.lists.at(1))]
    assert found == [(3, 4, 5), (6, 7, 8)]
    lists.lists.resize(0)  # it would free what is not there
