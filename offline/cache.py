"""The cache of downloads, generated knowledge and vectors of texts."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "LONGTAIL_CACHE_DIR"


def cache_folder() -> Path:
    """`LONGTAIL_CACHE_DIR`, else `~/.cache/longtail`; the folder may not exist yet."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "longtail"
