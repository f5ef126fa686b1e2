"""Measured memory of a process against its known memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loadtest.memory import available_bytes, mapped_pss_bytes_of, pss_bytes_of, rss_bytes_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

SIZE_BYTES = 32 << 20
HOLDER = """
import sys, numpy as np
table = np.load(sys.argv[1], mmap_mode="r")
table.sum()
print("ready", flush=True)
sys.stdin.read()
"""


def test_two_processes_that_map_one_file_share_one_copy(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    np.save(path, np.ones(SIZE_BYTES // 4, np.float32))
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    try:
        for holder in holders:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
        pids = [holder.pid for holder in holders]
        assert mapped_pss_bytes_of(pids, "table.npy") == pytest.approx(SIZE_BYTES, rel=0.02)
        assert mapped_pss_bytes_of(pids[:1], "table.npy") == pytest.approx(SIZE_BYTES / 2, rel=0.02)
        assert mapped_pss_bytes_of(pids, "other.npy") == 0
        # RSS counts the table twice, PSS once.
        assert rss_bytes_of(pids) - pss_bytes_of(pids) > 0.9 * SIZE_BYTES
    finally:
        for holder in holders:
            holder.communicate()


def test_free_memory_is_less_than_all_memory() -> None:
    free = available_bytes()
    assert free is not None
    assert 0 < free < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
