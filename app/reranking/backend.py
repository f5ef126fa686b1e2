"""The interface of everything that scores candidates in the reranker's process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from app.reranking.job import RerankError, Scores

if TYPE_CHECKING:
    from app.model.inference import Provider
    from app.reranking.prompts import Prompt

EndpointApi: TypeAlias = Literal["completions", "rerank"]


class Backend(Protocol):
    """Scores the candidates of prompts.

    max_prompts: how many prompts one call takes.
    """

    max_prompts: int

    async def score(self, prompts: Sequence[Prompt]) -> list[Scores | RerankError]:
        """Scores float32 [k'] of each prompt's candidates, in the recommender's order.

        A prompt that can't be scored has its error in the place of scores, and does not affect the
        others.
        """

    async def close(self) -> None:
        """Release connections."""


@dataclass(frozen=True)
class Endpoint:
    """A language model or cross-encoder behind HTTP."""

    url: str = field(repr=False)
    api: EndpointApi = "completions"
    model: str | None = None
    key: str | None = field(default=None, repr=False)
    timeout_s: float = 10.0


@dataclass(frozen=True)
class BackendConfig:
    """How candidates are scored: by the endpoint if there is one, else by the bundle's graph."""

    endpoint: Endpoint | None = None
    provider: Provider = "cpu"
    threads: int = 1
