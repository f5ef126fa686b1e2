"""The version that answered last on this machine, to serve when the store can't be read."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from model_store.files import write_atomically
from model_store.manifest import check_version

log = logging.getLogger(__name__)

ACTIVE_FILE = "active.json"


class LastActive:
    """Keeps the version in a file of the bundles folder, across restarts."""

    def __init__(self, bundles_dir: Path) -> None:
        self._path = bundles_dir / ACTIVE_FILE

    def write(self, version: str) -> None:
        """Remember a version that answers now."""
        try:
            write_atomically(self._path, json.dumps({"version": version}).encode())
        except OSError as error:
            log.warning("%s can't be written: %s", self._path, error)

    def read(self) -> str | None:
        """The version, None where none is known."""
        try:
            document: Any = json.loads(self._path.read_bytes())
            return check_version(str(document["version"]))
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None
