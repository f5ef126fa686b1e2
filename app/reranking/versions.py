"""The versions that the reranker's process holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from app.reranking.backend import BackendConfig

if TYPE_CHECKING:
    from app.reranking.version import Version

log = logging.getLogger(__name__)

# The active version and the one before, or the one to come; each may take some 200 MB.
MAX_VERSIONS = 2


class Versions:
    """At most `MAX_VERSIONS` of them; the one that was not used for longest makes space.

    Args:
        config: of their back ends.
        forgotten: digests of users who may stand in no prompt; may grow.
    """

    def __init__(self, config: BackendConfig, forgotten: Set[bytes]) -> None:
        self._config = config
        self._forgotten = forgotten
        self._held: dict[str, Version] = {}
        self._one_at_a_time = asyncio.Lock()

    def get(self, version: str) -> Version | None:
        """A loaded version, which counts as used now; None if it isn't loaded."""
        held = self._held.pop(version, None)
        if held is not None:
            self._held[version] = held
        return held

    async def load(self, version: str, folder: Path) -> None:
        """Load a version, unless it is loaded from this folder.

        Raises:
            LongtailError: it has no reranker, or one that can't be used.
        """
        async with self._one_at_a_time:
            held = self.get(version)
            if held is not None and held.folder == folder:
                return
            # Imported here: a process that has nothing to rerank takes little memory.
            from app.reranking.version import Version

            # Before another is opened, so that memory never holds a third one.
            while len(self._held) >= MAX_VERSIONS:
                await self._drop(next(iter(self._held)))
            self._held[version] = await Version.open(version, folder, self._config, self._forgotten)
            log.info("the reranker has loaded version %s", version)

    async def _drop(self, version: str) -> None:
        await self._held.pop(version).backend.close()
