"""A version as the reranker's process holds it: titles, users and a back end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.reranking.backend import Backend, BackendConfig
from app.reranking.job import Answer, Job, RerankError, Scores
from app.reranking.prompts import Prompt, PromptMaker
from model_store.bundle import Bundle
from model_store.reranker import RerankerInfo


@dataclass(frozen=True)
class Version:
    """A loaded version."""

    folder: Path
    prompts: PromptMaker
    backend: Backend

    @classmethod
    async def open(
        cls, version: str, folder: Path, config: BackendConfig, forgotten: Set[bytes]
    ) -> Version:
        """Open the bundle in a folder, without checking sums: the service has checked them.

        Args:
            version: that it has to hold.
            folder: of the bundle.
            config: of the back end.
            forgotten: see `PromptMaker`.

        Raises:
            LongtailError: it has no reranker, or one that can't be used.
        """
        bundle = await asyncio.to_thread(Bundle.open, folder, verify=False)
        if bundle.version != version:
            raise RerankError(f"{folder}: holds version {bundle.version}, not {version}")
        info = bundle.manifest.reranker
        if info is None:
            raise RerankError(f"version {version} has no reranker")
        prompts = await asyncio.to_thread(PromptMaker, bundle, info.layout, forgotten)
        return cls(folder, prompts, await _open_backend(bundle, info, config))

    async def rank(self, jobs: Sequence[Job]) -> list[Answer | RerankError]:
        """The answer to each job, or why there is none."""
        prompts = await asyncio.to_thread(self._make, jobs)
        made = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
        scored = iter(await self.backend.score(made) if made else ())
        return [
            _answer(prompt, next(scored)) if isinstance(prompt, Prompt) else prompt
            for prompt in prompts
        ]

    def _make(self, jobs: Sequence[Job]) -> list[Prompt | RerankError]:
        made: list[Prompt | RerankError] = []
        for job in jobs:
            try:
                made.append(self.prompts.make(job))
            except RerankError as error:
                made.append(error)
        return made


async def _open_backend(bundle: Bundle, info: RerankerInfo, config: BackendConfig) -> Backend:
    """The back end for a bundle with a reranker; a graph is warmed up.

    Raises:
        BundleError: the bundle's graph or tokenizer can't be used.
        RerankError: the bundle has neither a graph nor is there an endpoint.
    """
    # Imported here: of runtime and HTTP client only the one in use is loaded.
    if config.endpoint is not None:
        if config.endpoint.api == "rerank":
            from app.reranking.rerank_backend import RerankBackend

            return RerankBackend(config.endpoint, info.layout)
        from app.reranking.completions_backend import CompletionsBackend

        return CompletionsBackend(config.endpoint, info)
    if info.graph is None:
        raise RerankError(
            f"version {bundle.version} has no graph for its reranker, and LONGTAIL_RERANK_URL is "
            "unset"
        )
    from app.reranking.onnx_backend import OnnxBackend

    return await OnnxBackend.open(bundle, info, info.graph, config.provider, config.threads)


def _answer(prompt: Prompt, scores: Scores | RerankError) -> Answer | RerankError:
    if isinstance(scores, RerankError):
        return scores
    if scores.shape != (len(prompt.candidates),) or not np.isfinite(scores).all():
        return RerankError("the language model gave scores that are not finite")
    return Answer(scores, prompt.similar_user)
