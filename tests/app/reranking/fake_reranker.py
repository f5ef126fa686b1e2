"""A reranker without a process: it answers at once, late, never, or wrongly."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np

from app.reranking.job import Answer, Job, RerankError, Scores

Fault = Literal["fails", "crashes", "too few", "too many", "nan", "no numbers", "no user id"]
FAULTS: tuple[Fault, ...] = (
    "fails",
    "crashes",
    "too few",
    "too many",
    "nan",
    "no numbers",
    "no user id",
)


def scores_of(candidates: tuple[int, ...]) -> Scores:
    """Its scores: arbitrary, with ties, and always the same for the same candidates."""
    seed = hashlib.sha256(repr(candidates).encode()).digest()
    random = np.random.default_rng([*seed])
    return random.integers(-5, 5, len(candidates)).astype(np.float32)


class FakeReranker:
    """See `app.reranking.job.Reranker`; tests change its attributes while it answers."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.fault: Fault | None = None
        self.hangs = False
        self.ready = True
        self.loads = False  # loading goes on for as long as this is true
        self.load_error: str | None = None
        self.folders: dict[str, Path] = {}
        self.jobs: list[Job] = []
        self.forgotten: set[bytes] = set()

    async def load(self, version: str, folder: Path) -> None:
        self.folders[version] = folder
        await self.loaded(version)

    def is_loading(self, version: str) -> bool:
        return version in self.folders and self.loads

    async def loaded(self, version: str) -> None:
        while self.loads:
            await asyncio.sleep(0.01)
        if self.load_error is not None:
            self.folders.pop(version, None)
            raise RerankError(self.load_error)

    def is_ready(self, version: str) -> bool:
        return self.ready and version in self.folders and not self.is_loading(version)

    async def ask(self, job: Job) -> Answer:
        self.jobs.append(job)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        while self.hangs:
            await asyncio.sleep(0.01)
        scores, n = scores_of(job.candidates), len(job.candidates)
        match self.fault:
            case None:
                return Answer(scores, "u3")
            case "fails":
                raise RerankError("it fails")
            case "crashes":
                raise ZeroDivisionError
            case "too few":
                return Answer(scores[: n - 1], None)
            case "too many":
                return Answer(np.zeros(n + 1, np.float32), None)
            case "nan":
                scores[0] = np.nan
                return Answer(scores, None)
            case "no numbers":
                return Answer(["high"] * n, None)  # type: ignore[arg-type]
            case "no user id":
                return Answer(scores, "\ud800")

    def forget(self, digests: Collection[bytes]) -> None:
        self.forgotten.update(digests)

    async def close(self) -> None:
        self.folders.clear()
