"""How much memory a version takes, told before it is loaded."""

from __future__ import annotations

from pathlib import Path

from model_store import bundle as files
from model_store.errors import BundleUnavailable
from model_store.manifest import Manifest
from model_store.rating_arrays import RATING_FILES

OBJECTS_PER_BYTE = 12
"""Ids and attributes as Python objects take so many times the bytes of their JSON (measured with
40,000 and 200,000 items of three attributes: 11.8 and 11.7)."""

_PARSED = (files.ITEM_IDS, files.ATTRIBUTES)
_MAPPED_OR_READ = (
    *(files.MODEL, files.ITEM_TABLE, files.POPULARITY, files.TEXT_ENCODER, files.TOKENIZER),
    *(*files.KNOWLEDGE, *files.RETRIEVER_FILES, *RATING_FILES),
)


def memory_bytes(manifest: Manifest) -> int:
    """About how many bytes a worker takes for a version beside what it has; its workers share the
    item table and the vectors. The reranker's process takes its graph besides.
    """
    found = manifest.files
    names = (*_PARSED, files.USER_IDS) if manifest.kind == "rating" else _PARSED
    parsed = sum(found[name].size_bytes for name in names if name in found)
    read = sum(found[name].size_bytes for name in _MAPPED_OR_READ if name in found)
    return OBJECTS_PER_BYTE * parsed + read


def check_memory(manifest: Manifest, folder: Path, free_bytes: int | None) -> None:
    """Check that a version can be loaded beside what is there.

    Args:
        manifest: of the version.
        folder: of its bundle, for the message.
        free_bytes: as `free_memory` tells.

    Raises:
        BundleUnavailable: it takes more than is free.
    """
    needed = memory_bytes(manifest)
    if free_bytes is not None and needed > free_bytes:
        raise BundleUnavailable(
            f"{folder}: takes about {needed / 1e6:,.0f} MB of memory, and "
            f"{free_bytes / 1e6:,.0f} MB are free"
        )


def free_memory(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Bytes that this process may still take, None where the system doesn't tell.

    The least of what the machine has free and what is left of the container's limit (cgroup v2),
    each with the files in memory that can make space.
    """
    found = [one for one in (_of_machine(meminfo), _of_container(cgroup)) if one is not None]
    return min(found, default=None)


def _of_machine(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _of_container(cgroup: Path) -> int | None:
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((cgroup / "memory.current").read_text())
        statistics = dict(
            line.split() for line in (cgroup / "memory.stat").read_text().splitlines()
        )
        return max(0, int(limit) - used + int(statistics.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
