"""Memory of processes, as the kernel counts it; Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_bytes_of(pids: Iterable[int]) -> int:
    """Resident bytes of processes together; a shared page counts once for each of them."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES for pid in pids)


def pss_bytes_of(pids: Iterable[int]) -> int:
    """Resident bytes of processes together, where a page shared by n counts 1/n for each."""
    return sum(
        int(line.split()[1]) * 1024
        for pid in pids
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )


def mapped_pss_bytes_of(pids: Iterable[int], file_name: str) -> int:
    """The part of the PSS that maps files of this name, such as a shared item table."""
    total, counts = 0, False
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            if line.startswith("Pss:"):
                total += counts * int(line.split()[1]) * 1024
            elif not line[0].isupper():  # the line that begins a mapping, with its addresses
                counts = line.rpartition("/")[2] == file_name
    return total


def available_bytes() -> int | None:
    """Memory that new work can use without swapping; None where the system doesn't tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None
