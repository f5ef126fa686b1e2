"""Has the reranker loaded for the version that answers, whenever that is another one."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from time import monotonic
from typing import Literal, TypeAlias

from app.model.model import Model
from app.reranking.job import Reranker, RerankError
from model_store.texts import first_line

log = logging.getLogger(__name__)

RETRY_AFTER_S = 30.0

State: TypeAlias = Literal["none", "off", "loading", "ready", "failed"]
"""none: the version has no reranker. off: the service has none. failed: see the reason."""


class RerankerLoading:
    """Follows the current model; requests are answered meanwhile.

    Args:
        reranker: None where the service has none.
        current: returns the model that answers.
    """

    def __init__(self, reranker: Reranker | None, current: Callable[[], Model | None]) -> None:
        self._reranker = reranker
        self._current = current
        self._version: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._retry_at_s = 0.0
        self.reason: str | None = None
        """Why the current version's reranker can't be used; None if it can, or will be."""

    def state_of(self, model: Model) -> State:
        """Whether a version can be reranked."""
        if model.reranker is None:
            return "none"
        if self._reranker is None:
            return "off"
        if self._reranker.is_ready(model.version):
            return "ready"
        return "failed" if self.reason and model.version == self._version else "loading"

    async def look(self) -> None:
        """Begin to load another version's reranker, or the same one again a while after a failure.

        To be called often; doesn't wait for the end.
        """
        model = self._current()
        if self._reranker is None or model is None:
            return
        version = model.version if model.reranker is not None else None
        if version == self._version and (self.reason is None or monotonic() < self._retry_at_s):
            return
        await self.stop()
        if version != self._version:
            self._version, self.reason = version, None
        if version is not None:
            self._task = asyncio.get_running_loop().create_task(self._load(self._reranker, model))

    async def stop(self) -> None:
        """End loading."""
        # Not kept: its exception refers to all that it was at work on, such as models.
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _load(self, reranker: Reranker, model: Model) -> None:
        # Also while it loads once more: `look` must not begin again then.
        self._retry_at_s = math.inf
        try:
            await reranker.load(model.version, model.folder)
        except RerankError as error:
            reason = str(error)
        except Exception as error:
            log.exception("the reranker of version %s could not be loaded", model.version)
            reason = f"{type(error).__name__}: {first_line(error)}"
        else:
            self.reason = None
            log.info("version %s is reranked from now on", model.version)
            return
        if reason != self.reason:
            log.error("version %s is not reranked: %s", model.version, reason)
        self.reason = reason
        self._retry_at_s = monotonic() + RETRY_AFTER_S
