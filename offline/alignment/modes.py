"""What gives the experiences, by the mode of the settings."""

from __future__ import annotations

from pathlib import Path

from offline.alignment.config import AlignmentConfig
from offline.alignment.processes import asynchronous
from offline.alignment.run import OpenSource, pooled, synchronous


def source_of(config: AlignmentConfig, work: Path, cache: Path) -> OpenSource:
    """The source of a mode.

    Args:
        config: names the mode.
        work: the alignment's working folder.
        cache: folder of downloads, and of a pool's texts.
    """
    if config.mode == "asynchronous":
        return asynchronous(work, cache)
    if config.mode == "synchronous":
        return synchronous
    return pooled
